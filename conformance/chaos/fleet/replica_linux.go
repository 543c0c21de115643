package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tollgate/tollgate/conformance/launch"
)

// startMax is how often a start is tried: a database or disk that is broken for a while keeps a gateway from starting,
// and whatever runs it starts it again.
const startMax = 40

// startAgain is how long to wait before the next try.
const startAgain = 500 * time.Millisecond

// reloadAgain is how long to wait for a changed config to be in force before it is written again, reloadTries how often
// that is done, and reloadPoll how often it is looked for.
const (
	reloadAgain = 3 * time.Second
	reloadTries = 12
	reloadPoll  = 50 * time.Millisecond
)

// Replica is one gateway. Its methods are safe for concurrent use; one fault at a time is done to it.
type Replica struct {
	Name   string
	Binary string
	Dir    string // config, policies, log; data is below it
	Addr   string // where it listens for agents
	Config string // its config file
	Rules  string // its policy file
	Env    []string
	Disk   *Disk // nil: data is a plain directory

	mu      sync.Mutex // guards what follows, and is held while something is done to the process
	process *launch.Process
	log     *os.File
	lost    int // data directories that were lost
}

// Data is the directory of the journal.
func (r *Replica) Data() string { return filepath.Join(r.Dir, "data") }

func (r *Replica) file() string { return filepath.Join(r.Dir, "tollgate.yaml") }

// Prepare writes the config and makes the directories.
func (r *Replica) Prepare() error {
	if err := os.MkdirAll(filepath.Join(r.Dir, "policies"), 0o755); err != nil {
		return err
	}
	if r.Disk != nil {
		if err := os.Symlink(r.Disk.Data(), r.Data()); err != nil {
			return err
		}
	}
	return r.write()
}

// write puts the config in place by renaming, as a deployment does.
func (r *Replica) write() error {
	for path, text := range map[string]string{r.file(): r.Config, filepath.Join(r.Dir, "policies", "rules.yaml"): r.Rules} {
		if err := os.WriteFile(path+".next", []byte(text), 0o600); err != nil {
			return err
		}
		if err := os.Rename(path+".next", path); err != nil {
			return err
		}
	}
	return nil
}

// Start starts the gateway and waits until it may take traffic, trying again when it ends before.
func (r *Replica) Start(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.start(ctx)
}

func (r *Replica) start(ctx context.Context) error {
	if r.log == nil {
		log, err := os.OpenFile(filepath.Join(r.Dir, "log.jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		r.log = log
	}
	var failed error
	for range startMax {
		p, err := launch.RunLogged(r.log, r.Dir, r.Env, r.Binary, "serve", "--config", r.file())
		if err != nil {
			return err
		}
		r.process = p
		if failed = p.Ready(ctx, "http://"+r.Addr+"/readyz"); failed == nil {
			return nil
		}
		p.Kill()
		if ctx.Err() != nil {
			return failed
		}
		time.Sleep(startAgain)
	}
	return fmt.Errorf("replica %s does not start: %w", r.Name, failed)
}

// Kill ends the gateway as a crash does.
func (r *Replica) Kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.process.Kill()
}

// Stop ends the gateway as an operator does, and says when it does not end well.
func (r *Replica) Stop() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.process == nil {
		return nil
	}
	return r.process.Stop()
}

// Freeze stops the process without its knowledge, as a suspended machine, until Thaw.
func (r *Replica) Freeze() error { return r.signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (r *Replica) Thaw() error { return r.signal(syscall.SIGCONT) }

func (r *Replica) signal(s os.Signal) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.process.Signal(s)
}

// Reload has the gateway take another config, and waits until it says so. A gateway that cannot take it at the moment,
// because its database is away, keeps the one before; so it is asked again.
func (r *Replica) Reload(ctx context.Context, config string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	const done = `"msg":"reloaded"`
	before, err := r.said(done)
	if err != nil {
		return err
	}
	r.Config = config
	for range reloadTries {
		if err := r.write(); err != nil {
			return err
		}
		for deadline := time.Now().Add(reloadAgain); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(reloadPoll) {
			if now, err := r.said(done); err != nil || now > before {
				return err
			}
		}
	}
	return errors.Join(ctx.Err(), fmt.Errorf("replica %s did not take its new config:\n%s", r.Name, r.process.Log()))
}

// said counts how often the gateway has logged text.
func (r *Replica) said(text string) (int, error) {
	b, err := os.ReadFile(r.log.Name())
	return bytes.Count(b, []byte(text)), err
}

// Command runs the binary's own command with the gateway's config, and returns what it printed.
func (r *Replica) Command(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, r.Binary, append(args, "--config", r.file())...)
	cmd.Dir, cmd.Env = r.Dir, append(os.Environ(), r.Env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("tollgate %s: %w: %s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out, nil
}

// Lose kills the gateway and takes its data directory away for good. The next Start begins with an empty one. It returns
// where the lost one is kept.
func (r *Replica) Lose() (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.process.Kill()
	r.lost++
	kept := filepath.Join(r.Dir, fmt.Sprintf("lost-%d", r.lost))
	if r.Disk == nil {
		return kept, os.Rename(r.Data(), kept)
	}
	if err := os.Rename(r.Disk.Data(), r.Disk.Data()+filepath.Base(kept)); err != nil {
		return "", err
	}
	return r.Disk.Data() + filepath.Base(kept), r.Disk.makeData()
}

// Close stops the gateway if it runs and closes its log.
func (r *Replica) Close() error {
	err := r.Stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.log != nil {
		err = errors.Join(err, r.log.Close())
	}
	return err
}
