package llm

import (
	"context"
	"sync"
	"time"
)

// drains are the answers that are read on after their client left, so that their usage is known.
type drains struct {
	mu      sync.Mutex
	n       int
	ended   bool
	stopped chan struct{} // closed by stop
}

// follow returns a context that goes on for at most drainTime after ctx has ended, if there is room for one more, and a
// function that ends it.
func (d *drains) follow(ctx context.Context) (context.Context, func()) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	watch := context.AfterFunc(ctx, func() {
		defer cancel()
		if !d.enter() {
			return
		}
		defer d.leave()
		limit := time.NewTimer(drainTime)
		defer limit.Stop()
		select {
		case <-out.Done():
		case <-limit.C:
		case <-d.stopped:
		}
	})
	return out, func() { watch(); cancel() }
}

func (d *drains) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended || d.n >= drainsMax {
		return false
	}
	d.n++
	return true
}

func (d *drains) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.n--
}

// stop ends all of them and lets none begin.
func (d *drains) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.ended {
		d.ended = true
		close(d.stopped)
	}
}
