package mcp

import (
	"context"
	"sync"
	"time"

	"github.com/tollgate/tollgate/mcp/upstream"
)

// clock bounds the time of a call whose caller can be asked: it stands still while a question is out, because how long
// somebody thinks says nothing of the server.
type clock struct {
	ctx  context.Context
	stop context.CancelCauseFunc

	mu      sync.Mutex // guards what follows
	out     int        // questions
	left    time.Duration
	running time.Time // since when, while no question is out
	timer   *time.Timer
}

// newClock starts a clock of within. Its context ends with the cause context.DeadlineExceeded when the time is over; end
// must be called.
func newClock(ctx context.Context, within time.Duration) (context.Context, *clock) {
	c := &clock{left: within, running: time.Now()}
	c.ctx, c.stop = context.WithCancelCause(ctx)
	c.timer = time.AfterFunc(within, func() { c.stop(context.DeadlineExceeded) })
	return c.ctx, c
}

// end ends the context and frees what the clock holds.
func (c *clock) end() {
	c.stop(nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer.Stop()
}

// pause stops the clock until resume has been called as often.
func (c *clock) pause() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out++; c.out == 1 && c.timer.Stop() {
		c.left -= time.Since(c.running)
	}
}

func (c *clock) resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out--; c.out == 0 && c.ctx.Err() == nil {
		c.running = time.Now()
		c.timer.Reset(max(c.left, 0))
	}
}

// ask is ask with the clock stopped.
func (c *clock) ask(ask upstream.Ask) upstream.Ask {
	return func(ctx context.Context, method string, params []byte) *upstream.Answer {
		c.pause()
		defer c.resume()
		return ask(ctx, method, params)
	}
}
