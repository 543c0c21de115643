// Package sandbox runs programs that are not trusted, with limits. It knows nothing of MCP.
//
// [Start] runs one supervised child: a stdio tool server. The child is started from an argument list, never through a
// shell, in a process group of its own, with a declared environment and no open files but its three pipes. It dies with
// the gateway, and everything in its group dies with it.
//
// # What holds where
//
// On Linux the child is stopped by the kernel at its first instruction (ptrace), gets its resource limits and is then let
// go, so no instruction of it runs without them; where a container forbids ptrace the limits come some microseconds
// late. It can gain no privileges by set-uid files (no_new_privs), and the kernel kills it when the gateway dies, even by
// SIGKILL (Pdeathsig: it follows the thread that started the child, so each child has a thread of its own that waits
// for it).
//
// On other Unix systems resource limits and the death signal are missing: a child of a gateway that was killed learns of
// it by the end of its input. On Windows there is no process group either, and stopping kills the child alone.
//
// Nowhere does the group hold a grandchild that made a session of its own (setsid): such a daemon outlives its server.
package sandbox
