package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// eofGrace is how long a child may take to leave after its input has ended: servers that obey need milliseconds.
	eofGrace = time.Second
	// termGrace is how long it may take after SIGTERM.
	termGrace = 3 * time.Second
	// drainGrace is how long output of a dead child can still be read. A process that escaped the group may hold the
	// pipe open for ever.
	drainGrace = time.Second
	// defaultPath is where programs are looked for when the gateway itself has no PATH.
	defaultPath = "/usr/local/bin:/usr/bin:/bin"
)

// Limits bound a child and what it starts. Zero fields set no limit. They hold on Linux only.
type Limits struct {
	MemoryBytes uint64 // of address space; programs that reserve much (Node, Go, Java) need several GiB
	OpenFiles   uint64
	Processes   uint64 // of the gateway's whole user, threads included; root is not held
	CPUSeconds  uint64 // of each process over its whole life
	FileBytes   uint64 // of one written file
}

// Spec says what to run. Argv is required.
type Spec struct {
	Argv   []string // program and arguments, taken literally; a program without a slash is looked for in the child's PATH
	Dir    string   // working directory; empty: the temporary home
	Env    []string // NAME=value, beside PATH, HOME (a fresh directory, removed at the end) and LANG; it goes before them
	Limits Limits

	Log     *slog.Logger // gets each line of standard error at level info; nil: discarded
	Secrets []string     // texts that never reach Log
}

// Process is a running child. Its methods are safe for concurrent use; Stdin and Stdout are for one user each.
type Process struct {
	Stdin  *os.File // to the child; supports write deadlines
	Stdout *os.File // from the child; readable for a second after it has exited; the user closes it

	pid    int
	home   string
	stderr *os.File
	done   chan struct{}
	err    error // how it ended; set before done is closed

	mu     sync.Mutex // guards reaped, and that no signal is sent past it
	reaped bool
}

// Start runs spec. The child is killed when ctx ends; until then it runs until it exits or is stopped. An error means
// that nothing runs.
func Start(ctx context.Context, spec Spec) (*Process, error) {
	if len(spec.Argv) == 0 || spec.Argv[0] == "" {
		return nil, errors.New("start a program: argv is empty")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	home, err := os.MkdirTemp("", "tollgate-child-")
	if err != nil {
		return nil, fmt.Errorf("start %s: make its home: %w", spec.Argv[0], err)
	}
	p := &Process{home: home, done: make(chan struct{})}
	env, err := environ(home, spec.Env)
	if err == nil {
		err = p.start(spec, env)
	}
	if err != nil {
		_ = os.RemoveAll(home)
		return nil, fmt.Errorf("start %s: %w", spec.Argv[0], err)
	}
	stop := context.AfterFunc(ctx, p.Kill)
	go func() {
		<-p.done
		stop()
	}()
	return p, nil
}

// start opens the pipes and leaves the child to its own thread.
func (p *Process) start(spec Spec, env []string) error {
	program, err := look(spec.Argv[0], env)
	if err != nil {
		return err
	}
	cmd := &exec.Cmd{Path: program, Args: spec.Argv, Dir: spec.Dir, Env: env}
	if cmd.Dir == "" {
		cmd.Dir = p.home
	}
	var ours, theirs []*os.File
	for i := range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(ours, theirs)
			return fmt.Errorf("open a pipe: %w", err)
		}
		if i == 0 {
			ours, theirs = append(ours, w), append(theirs, r)
		} else {
			ours, theirs = append(ours, r), append(theirs, w)
		}
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], theirs[2]
	p.Stdin, p.Stdout, p.stderr = ours[0], ours[1], ours[2]

	log := newLineLog(spec.Log, spec.Secrets)
	started := make(chan error)
	go func() {
		// The thread is never unlocked, so it ends with this goroutine and carries what was set on it to nobody else.
		runtime.LockOSThread()
		err := startGroup(cmd, spec.Limits)
		closeAll(theirs)
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			p.supervise(cmd, log)
		}
	}()
	if err := <-started; err != nil {
		closeAll(ours)
		return err
	}
	return nil
}

// supervise waits for the child, kills what is left of its group and cleans up.
func (p *Process) supervise(cmd *exec.Cmd, log *lineLog) {
	read := make(chan struct{})
	go func() {
		defer close(read)
		log.copy(p.stderr)
	}()
	p.err = p.reap(cmd)

	now := time.Now()
	_ = p.Stdout.SetReadDeadline(now.Add(drainGrace))
	_ = p.stderr.SetReadDeadline(now.Add(drainGrace))
	_ = p.Stdin.Close()
	<-read
	_ = p.stderr.Close()
	_ = os.RemoveAll(p.home)
	close(p.done)
}

// PID returns the child's process id, which is also its group's.
func (p *Process) PID() int { return p.pid }

// Done is closed when the child has exited, its group was killed and its home removed.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the child ended, once Done is closed: nil after exit status 0, else an *exec.ExitError.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Stop ends the child: its input ends, then its group gets SIGTERM, then SIGKILL, each after a grace; when ctx ends
// SIGKILL comes at once. It returns when the child is gone. Stopping again, or after the end, does no harm.
func (p *Process) Stop(ctx context.Context) {
	_ = p.Stdin.Close()
	if p.wait(ctx, eofGrace) {
		return
	}
	if ctx.Err() == nil {
		p.signal(terminateGroup)
		if p.wait(ctx, termGrace) {
			return
		}
	}
	p.Kill()
	<-p.done
}

func (p *Process) wait(ctx context.Context, grace time.Duration) bool {
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// Kill kills the whole group at once. It does not wait.
func (p *Process) Kill() { p.signal(killGroup) }

// signal calls send unless the child is reaped and its number may be another's.
func (p *Process) signal(send func(pid int)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		send(p.pid)
	}
}

// environ is the whole environment of a child.
func environ(home string, declared []string) ([]string, error) {
	env := map[string]string{"PATH": os.Getenv("PATH"), "HOME": home, "LANG": os.Getenv("LANG")}
	if env["PATH"] == "" {
		env["PATH"] = defaultPath
	}
	if env["LANG"] == "" {
		env["LANG"] = "C.UTF-8"
	}
	for _, v := range declared {
		name, value, ok := strings.Cut(v, "=")
		if !ok || name == "" || strings.ContainsRune(v, 0) {
			// The text is not quoted: it may be a secret.
			return nil, errors.New("environment: each entry is NAME=value without zero bytes")
		}
		env[name] = value
	}
	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out, nil
}

// Look says which file Start would run for program, given the declared environment; a config check asks it beforehand.
func Look(program string, declared []string) (string, error) {
	env, err := environ("", declared)
	if err != nil {
		return "", err
	}
	return look(program, env)
}

// look finds program in the PATH of env, which need not be the gateway's.
func look(program string, env []string) (string, error) {
	if strings.ContainsRune(program, '/') || strings.ContainsRune(program, filepath.Separator) {
		file, err := exec.LookPath(program)
		if err != nil {
			return "", err
		}
		return filepath.Abs(file) // the child's working directory is another one
	}
	for _, v := range env {
		path, ok := strings.CutPrefix(v, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(path) {
			if !filepath.IsAbs(dir) {
				continue // a relative directory would be relative to whatever the child's is
			}
			if file, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
				return file, nil
			}
		}
	}
	return "", fmt.Errorf("%s is not in PATH: install it or write its full path", program)
}

func closeAll(lists ...[]*os.File) {
	for _, files := range lists {
		for _, f := range files {
			_ = f.Close()
		}
	}
}
