package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// startGroup starts cmd in a group of its own and under limits. The calling goroutine must be locked to its thread, must
// wait for the child, and must never unlock: Pdeathsig fires when the thread ends, and no_new_privs stays on it.
func startGroup(cmd *exec.Cmd, limits Limits) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up set-uid programs: %w", err)
	}
	if err := closeInherited(); err != nil {
		return fmt.Errorf("keep open files to itself: %w", err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Ptrace: true}
	err := cmd.Start()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSYS) {
		// Some containers forbid ptrace. The program itself may be what may not be run: then this fails the same way.
		return startUntraced(cmd, limits)
	}
	if err != nil {
		return err
	}
	return orEnd(cmd, limitAndRelease(cmd.Process.Pid, limits))
}

// startUntraced starts cmd where ptrace is forbidden: its limits come some microseconds late.
func startUntraced(cmd *exec.Cmd, limits Limits) error {
	*cmd = exec.Cmd{Path: cmd.Path, Args: cmd.Args, Dir: cmd.Dir, Env: cmd.Env, Stdin: cmd.Stdin, Stdout: cmd.Stdout, Stderr: cmd.Stderr}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	return orEnd(cmd, setLimits(cmd.Process.Pid, limits))
}

// orEnd ends a child that could not be limited.
func orEnd(cmd *exec.Cmd, err error) error {
	if err != nil {
		killGroup(cmd.Process.Pid)
		_ = cmd.Wait()
	}
	return err
}

// limitAndRelease takes the child where the kernel stopped it, at its first instruction, limits it and lets it go.
func limitAndRelease(pid int, limits Limits) error {
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &status, 0, nil)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for its first instruction: %w", err)
		}
	}
	if !status.Stopped() {
		return errors.New("it died before its first instruction")
	}
	if err := setLimits(pid, limits); err != nil {
		return err
	}
	if err := unix.PtraceDetach(pid); err != nil {
		return fmt.Errorf("let it go: %w", err)
	}
	return nil
}

func setLimits(pid int, l Limits) error {
	for _, r := range []struct {
		name     string
		resource int
		value    uint64
		always   bool
	}{
		{"memory", unix.RLIMIT_AS, l.MemoryBytes, false},
		{"open files", unix.RLIMIT_NOFILE, l.OpenFiles, false},
		{"processes", unix.RLIMIT_NPROC, l.Processes, false},
		{"CPU time", unix.RLIMIT_CPU, l.CPUSeconds, false},
		{"file size", unix.RLIMIT_FSIZE, l.FileBytes, false},
		{"core dumps", unix.RLIMIT_CORE, 0, true}, // a dump would hold the credentials in its environment
	} {
		if r.value == 0 && !r.always {
			continue
		}
		var now unix.Rlimit
		if err := unix.Prlimit(pid, r.resource, nil, &now); err != nil {
			return fmt.Errorf("read its limit of %s: %w", r.name, err)
		}
		value := min(r.value, now.Max) // a limit of the gateway's own cannot be raised and need not be
		if err := unix.Prlimit(pid, r.resource, &unix.Rlimit{Cur: value, Max: value}, nil); err != nil {
			return fmt.Errorf("limit its %s: %w", r.name, err)
		}
	}
	return nil
}

// closeInherited marks every file that the gateway itself was started with as not to be passed on; those it opens are
// marked already.
func closeInherited() error {
	const first = 3
	if err := unix.CloseRange(first, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err == nil {
		return nil
	}
	entries, err := os.ReadDir("/proc/self/fd") // Linux before 5.11
	if err != nil {
		return err
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= first {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// reap waits for the child and kills what it leaves behind. The child stays a zombie until then, so that its number and
// its group's are nobody else's.
func (p *Process) reap(cmd *exec.Cmd) error {
	for errors.Is(unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	killGroup(p.pid)
	p.reaped = true
	return cmd.Wait()
}
