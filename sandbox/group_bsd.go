//go:build unix && !linux

package sandbox

import (
	"os/exec"
	"syscall"
)

// startGroup starts cmd in a group of its own. Limits do not hold here.
func startGroup(cmd *exec.Cmd, _ Limits) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd.Start()
}

// reap waits for the child and kills what it leaves behind. The group's number could be another's by then: a window of
// microseconds that only Linux closes.
func (p *Process) reap(cmd *exec.Cmd) error {
	err := cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reaped = true
	killGroup(p.pid)
	return err
}
