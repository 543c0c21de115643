//go:build !unix

package sandbox

import (
	"os"
	"os/exec"
)

// startGroup starts cmd. Neither group nor limits hold here.
func startGroup(cmd *exec.Cmd, _ Limits) error { return cmd.Start() }

// reap waits for the child; what it leaves behind stays.
func (p *Process) reap(cmd *exec.Cmd) error {
	err := cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reaped = true
	return err
}

// killGroup kills pid alone.
func killGroup(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
		_ = p.Release()
	}
}

// terminateGroup kills: there is nothing gentler.
func terminateGroup(pid int) { killGroup(pid) }
