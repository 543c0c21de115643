package sequencer

import (
	"context"
	"errors"
	"testing"
	"time"
)

var errCrash = errors.New("crash")

// crashing ends the process before one statement or commit, or after a commit of which nobody is told.
type crashing struct {
	database
	at    int  // which; counted down
	after bool // after a commit; statements then do not count
	down  bool // nothing works any more
}

func (c *crashing) hit() bool {
	c.at--
	if c.at == 0 {
		c.down = true
		return true
	}
	return false
}

func (c *crashing) tx(ctx context.Context, fn func(context.Context, statements) error) error {
	if c.down {
		return errCrash
	}
	err := c.database.tx(ctx, func(ctx context.Context, s statements) error {
		if err := fn(ctx, crashingTx{s, c}); err != nil {
			return err
		}
		if c.down || !c.after && c.hit() { // before the commit
			return errCrash
		}
		return nil
	})
	if err == nil && c.after && c.hit() { // committed, and nobody was told
		return errCrash
	}
	return err
}

type crashingTx struct {
	statements
	c *crashing
}

func (s crashingTx) Exec(ctx context.Context, text string, args ...any) (int64, error) {
	if s.c.down || !s.c.after && s.c.hit() {
		return 0, errCrash
	}
	return s.statements.Exec(ctx, text, args...)
}

func (s crashingTx) Each(ctx context.Context, take func(func(...any) error) error, text string, args ...any) error {
	if s.c.down || !s.c.after && s.c.hit() {
		return errCrash
	}
	return s.statements.Each(ctx, take, text, args...)
}

// A process that ends between any two statements leaves a log that the next start goes on with: nothing is lost, nothing
// is twice, and nothing that was signed is contradicted.
func TestCrashBetweenAnyTwoStatements(t *testing.T) {
	engines(t, func(t *testing.T, open func(*replica) *Store) {
		r := newReplica(t, "a")
		s := open(r)
		sound := s.db
		crashes := 0
		for _, after := range []bool{false, true} {
			for at := 1; ; at++ {
				r.start()
				r.write(3)
				r.clock.pass(time.Second)
				c := &crashing{database: sound, at: at, after: after}
				s.db = c
				err := r.log(s).Settle(context.Background())
				s.db = sound
				if !c.down {
					if err != nil {
						t.Fatal(err)
					}
					break // there are no more statements
				}
				crashes++
				if err == nil {
					t.Errorf("crash %d was not noticed", at)
				}
				if at%2 == 0 { // else the next crash meets what this one left
					settle(t, r.log(s))
				}
			}
		}
		settle(t, r.log(s))
		whole(t, s, r)
		if crashes < 30 {
			t.Errorf("only %d crashes", crashes)
		}
		if got := verified(t, s, Range{}); got.Checkpoints < 4 {
			t.Errorf("%+v", got)
		}
	})
}
