package oauth

import (
	"sync"
	"sync/atomic"
	"time"
)

// contact is the bond with a database: it is lost when the database has not answered for a while.
type contact struct {
	offline time.Duration
	tell    func(is bool)

	gone atomic.Bool // read without mu; changed under it

	mu    sync.Mutex // guards what follows
	until time.Time
	timer *time.Timer
}

// newContact begins with a question that was asked at that time and has been answered. tell is called each time the contact
// is lost or is back.
func newContact(asked time.Time, offline time.Duration, tell func(is bool)) *contact {
	c := &contact{offline: offline, tell: tell, until: asked.Add(offline)}
	c.timer = time.AfterFunc(time.Until(c.until), c.expire)
	return c
}

// stands says that what was asked at that time has been answered: what the database knew then is known here.
func (c *contact) stands(asked time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = asked.Add(c.offline)
	left := time.Until(c.until)
	if left <= 0 {
		return // the answer took too long
	}
	c.timer.Reset(left)
	if c.gone.Swap(false) {
		c.tell(true)
	}
}

func (c *contact) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Now().Before(c.until) {
		return // it was answered in this moment
	}
	if !c.gone.Swap(true) {
		c.tell(false)
	}
}

// lost reports whether the database may have changed without its being known here.
func (c *contact) lost() bool { return c.gone.Load() }

// end stops counting: the contact is what it is from now on.
func (c *contact) end() { c.timer.Stop() }
