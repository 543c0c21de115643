package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// readyMax is how long a program may take to become ready.
	readyMax = 60 * time.Second
	// stopMax is how long a program may take to stop after SIGTERM before it is killed.
	stopMax = 15 * time.Second
	// readyEvery is how often readiness is asked for.
	readyEvery = 20 * time.Millisecond
	// logShownBytes is how much of a program's last output an error shows.
	logShownBytes = 16 << 10
)

// Process is a running program. Its methods are safe for concurrent use.
type Process struct {
	name string
	cmd  *exec.Cmd
	log  *tail
	done chan struct{} // closed once the program has ended
	once sync.Once
}

// Run starts name with args in dir, with env added to the environment. What it prints is kept for errors.
func Run(dir string, env []string, name string, args ...string) (*Process, error) {
	return RunLogged(io.Discard, dir, env, name, args...)
}

// RunLogged is Run, and also writes to log all that the program prints.
func RunLogged(log io.Writer, dir string, env []string, name string, args ...string) (*Process, error) {
	p := &Process{name: filepath.Base(name), cmd: exec.Command(name, args...), log: &tail{}, done: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout = io.MultiWriter(p.log, log)
	p.cmd.Stderr = p.cmd.Stdout
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is ours to pass on
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.name, err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in the process state
		close(p.done)
	}()
	return p, nil
}

// PID is the program's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log returns the end of what the program has printed.
func (p *Process) Log() string { return p.log.String() }

// Exited is closed once the program has ended.
func (p *Process) Exited() <-chan struct{} { return p.done }

// Ready waits until url answers 200, and fails when the program ends or takes too long.
func (p *Process) Ready(ctx context.Context, url string) error {
	return p.wait(ctx, "ready at "+url, func(ctx context.Context) bool { return answers(ctx, url) })
}

// Listens waits until something accepts connections at addr, and fails when the program ends or takes too long.
func (p *Process) Listens(ctx context.Context, addr string) error {
	return p.wait(ctx, "listening at "+addr, func(ctx context.Context) bool {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// Printed waits until the program has printed text, and fails when it ends or takes too long.
func (p *Process) Printed(ctx context.Context, text string) error {
	return p.wait(ctx, fmt.Sprintf("as far as %q", text), func(context.Context) bool { return strings.Contains(p.Log(), text) })
}

func (p *Process) wait(ctx context.Context, what string, reached func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, readyMax)
	defer cancel()
	for {
		if reached(ctx) {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended (%s) before it was %s:\n%s", p.name, p.cmd.ProcessState, what, p.log)
		case <-ctx.Done():
			return fmt.Errorf("%s is not %s:\n%s", p.name, what, p.log)
		case <-time.After(readyEvery):
		}
	}
}

func answers(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Stop asks the program to end, kills it and its children when it does not, and reports how it ended if that was not
// well. Further calls do nothing.
func (p *Process) Stop() error {
	var err error
	p.once.Do(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails only when it has ended already
		select {
		case <-p.done:
		case <-time.After(stopMax):
			err = fmt.Errorf("%s did not stop within %s of SIGTERM:\n%s", p.name, stopMax, p.log)
		}
		_ = syscall.Kill(-p.PID(), syscall.SIGKILL) // what is left of its group
		<-p.done
		if state := p.cmd.ProcessState; err == nil && !state.Success() && !endedBySignal(state) {
			err = fmt.Errorf("%s ended with %s:\n%s", p.name, state, p.log)
		}
	})
	return err
}

// Signal sends the program a signal; it fails only when the program has ended.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Kill ends the program as a crash would.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // fails only when it has ended already
	<-p.done
}

func endedBySignal(s *os.ProcessState) bool {
	ws, ok := s.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled()
}

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex // guards b
	b  []byte
}

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if over := len(t.b) - logShownBytes; over > logShownBytes {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b[max(0, len(t.b)-logShownBytes):])
}

// FreeAddr returns a loopback address that was free a moment ago.
func FreeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// ErrNotBuilt means the binary to drive is not there.
var ErrNotBuilt = errors.New("bin/tollgate is not there: run make build")

// Binary returns the path of the tollgate built below root, the repository.
func Binary(root string) (string, error) {
	path, err := filepath.Abs(filepath.Join(root, "bin", "tollgate"))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil {
		return "", ErrNotBuilt
	}
	return path, nil
}
