package main

import (
	"context"
	"sync"
	"time"
)

// startRetention removes what is older than retention: from the journal. It comes after every part that reads the journal
// has said so, and ends before the first of them closes.
func (p *process) startRetention(ctx context.Context) error {
	age := time.Duration(p.inForce().Retention)
	if age == 0 {
		return nil
	}
	removing, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() {
		p.ledger.Retain(removing, age, func(err error) { p.log.Error("old entries stay", "err", err) })
	})
	p.undoBy(func(context.Context) error {
		stop()
		running.Wait()
		return nil
	})
	return nil
}
