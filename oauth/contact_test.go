package oauth

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// slow is a database that takes a second to answer what it is told, and knows it at once.
type slow struct {
	database
	told time.Time
}

func (*slow) version(context.Context) (int64, error) { return 0, nil }

func (s *slow) applied(context.Context, int64) error {
	s.told = time.Now()
	time.Sleep(time.Second)
	return nil
}

// The database counts the silence of a process from when it was told. The process must not count from later on: it would
// go on for longer than a revocation waits for it.
func TestWordCountsFromWhenItWasGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := &slow{}
		k := &Keys{store: &store{db}}
		var last said
		if err := k.catchUp(t.Context(), &last); err != nil {
			t.Fatal(err)
		}
		if last.at.After(db.told) {
			t.Errorf("it was told %s before", last.at.Sub(db.told))
		}
	})
}
