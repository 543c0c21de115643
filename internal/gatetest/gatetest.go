// Package gatetest stands a real gate on a real ledger in a temporary directory, for the tests of whatever calls through
// it. When the test ends the whole journal is read again: every reservation must be resolved exactly once.
package gatetest

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/policy"
)

// Options say what the gate stands on.
type Options struct {
	Rules      string // a policy file; empty: none, so everything is denied
	Limits     map[ledger.Scope][]string
	Upstreams  []gate.Upstream
	Durability ledger.Durability // empty: relaxed, which spares the disk
	Pools      ledger.Pools      // nil: the ledger is alone
	Gate       gate.Config       // further settings: Tracer, Meter, Log, Now
}

// Fixture is a gate and what it stands on.
type Fixture struct {
	Gate   *gate.Gate
	Ledger *ledger.Ledger

	dir    string
	closed bool
}

// New makes a Fixture, which is closed and checked when the test ends.
func New(t testing.TB, o Options) *Fixture {
	t.Helper()
	f := &Fixture{dir: t.TempDir()}
	if o.Durability == "" {
		o.Durability = ledger.Relaxed
	}
	var err error
	if f.Ledger, err = ledger.Open(ledger.Config{Dir: f.dir, Durability: o.Durability, Now: o.Gate.Now, Pools: o.Pools}); err != nil {
		t.Fatal(err)
	}
	f.Ledger.SetLimits(limits(t, o.Limits))
	cfg := o.Gate
	cfg.Ledger, cfg.Upstreams, cfg.Policy = f.Ledger, o.Upstreams, Rules(t, o.Rules)
	if f.Gate, err = gate.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.Gate.Close()
		f.CloseLedger(t)
		f.check(t)
	})
	return f
}

// Rules compiles one policy file; empty is no policy at all.
func Rules(t testing.TB, text string) *policy.Set {
	t.Helper()
	if text == "" {
		return policy.None()
	}
	set, err := policy.Compile("test", map[string][]byte{"rules.yaml": []byte(text)}, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func limits(t testing.TB, texts map[ledger.Scope][]string) map[ledger.Scope][]ledger.Limit {
	t.Helper()
	out := map[ledger.Scope][]ledger.Limit{}
	for scope, list := range texts {
		for _, text := range list {
			l, err := ledger.ParseLimit(text)
			if err != nil {
				t.Fatal(err)
			}
			out[scope] = append(out[scope], l)
		}
	}
	return out
}

// CloseLedger closes the ledger early: nothing can be written any more.
func (f *Fixture) CloseLedger(t testing.TB) {
	t.Helper()
	if f.closed {
		return
	}
	f.closed = true
	if err := f.Ledger.Close(); err != nil {
		t.Error(err)
	}
}

// Entries closes the ledger and returns all of it.
func (f *Fixture) Entries(t testing.TB) []ledger.Entry {
	t.Helper()
	f.CloseLedger(t)
	dir, err := durable.Disk(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	c := journal.NewCursor(dir, journal.Position{})
	defer c.Close()
	var all []ledger.Entry
	for {
		frame, err := c.Next(journal.Written())
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		e, err := ledger.DecodeEntry(frame.Payload)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
}

// Line is an entry in the short form that tests compare: kind, action, upstream, target and rules of a call; kind,
// outcome and cost of its end.
func Line(e *ledger.Entry) string {
	parts := []string{e.Kind.String()}
	if e.Ends() {
		parts = append(parts, string(e.Status), fmt.Sprintf("cost %d", e.Cost))
		if e.Estimated {
			parts = append(parts, "estimated")
		}
		return strings.Join(parts, " ")
	}
	if e.Extends() {
		return fmt.Sprintf("reserved more %d", e.Hold)
	}
	for _, s := range append([]string{string(e.Action), e.Upstream, e.Target}, e.Rules...) {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, " ")
}

// Lines are all entries in short form. The ledger is closed.
func (f *Fixture) Lines(t testing.TB) []string {
	t.Helper()
	entries := f.Entries(t)
	lines := make([]string, len(entries))
	for i := range entries {
		lines[i] = Line(&entries[i])
	}
	return lines
}

// WantEntries fails unless the ledger holds entries that begin with want, in that order, and no others.
func (f *Fixture) WantEntries(t testing.TB, want ...string) {
	t.Helper()
	got := f.Lines(t)
	same := len(got) == len(want)
	for i := 0; same && i < len(want); i++ {
		same = strings.HasPrefix(got[i], want[i])
	}
	if !same {
		t.Errorf("entries:\n\t%s\nwant:\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// WantLast fails unless the last entry is want.
func (f *Fixture) WantLast(t testing.TB, want string) {
	t.Helper()
	got := f.Lines(t)
	if len(got) == 0 || got[len(got)-1] != want {
		t.Errorf("the last of %q is not %q", got, want)
	}
}

// WantEntry fails unless some entry is want.
func (f *Fixture) WantEntry(t testing.TB, want string) {
	t.Helper()
	for _, line := range f.Lines(t) {
		if line == want {
			return
		}
	}
	t.Errorf("no entry %q in %q", want, f.Lines(t))
}

// check holds that each reservation is resolved exactly once and each resolution names a reservation.
func (f *Fixture) check(t testing.TB) {
	t.Helper()
	open := map[ledger.ID]int{}
	for _, e := range f.Entries(t) {
		switch {
		case e.Kind == ledger.Reserved && !e.Extends():
			open[e.ID] = 0
		case e.Extends(), e.Ends():
			n, known := open[e.Resolves]
			if !known {
				t.Errorf("entry %s resolves %s, which was never reserved", e.ID, e.Resolves)
			}
			if e.Ends() {
				open[e.Resolves] = n + 1
			}
		}
	}
	for id, n := range open {
		if n != 1 {
			t.Errorf("reservation %s is resolved %d times", id, n)
		}
	}
}
