package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/durabletest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
)

// crashLimit is on calls in the year; the script makes more than that.
const crashLimit = 9

// sure is how sure the ledger has made a caller of an entry.
type sure int

const (
	maybe  sure = iota // an error was returned: it may be there or not
	kernel             // a killed process does not lose it
	disk               // a power cut does not lose it
)

// toldCall is what the ledger told a caller.
type toldCall struct {
	reserved sure
	end      ledger.Kind // 0: not ended
	ended    sure
	cost     ledger.Nano // of the end
	early    bool        // it was made before the part of the journal that retention may have removed
}

// scripted runs a ledger through everything that writes, while one operation of its disk fails, or all from that one on.
type scripted struct {
	t          *testing.T
	durability ledger.Durability
	disk       *durabletest.Disk
	cfg        ledger.Config
	now        time.Time
	l          *ledger.Ledger
	told       map[string]*toldCall
	dead       bool // the disk fails for ever from the failing operation on
	failing    int  // the operation that fails, from 1; 0: none
	operations atomic.Int64
	early      bool
}

func newScripted(t *testing.T, durability ledger.Durability, failing int, fault durabletest.Fault, dead bool) *scripted {
	s := &scripted{t: t, durability: durability, disk: durabletest.New(), now: noon, told: map[string]*toldCall{}, dead: dead, failing: failing, early: true}
	s.cfg = ledger.Config{Storage: s.disk, Durability: durability, DigestKey: []byte("key"), SegmentBytes: 1200, Now: func() time.Time { return s.now }}
	s.disk.Break(func(durabletest.Op, string) durabletest.Fault {
		n := int(s.operations.Add(1))
		switch {
		case n == failing:
			return fault
		case dead && failing > 0 && n > failing:
			return durabletest.Lost
		}
		return durabletest.None
	})
	return s
}

// open starts the ledger. A start that fails is tried once more: one operation fails once.
func (s *scripted) open() bool {
	for range 2 {
		l, err := ledger.Open(s.cfg)
		if err == nil {
			s.l = l
			l.SetLimits(map[ledger.Scope][]ledger.Limit{{Level: ledger.KeyLevel, Name: "k1"}: parse(s.t, fmt.Sprintf("%d calls / 1Y", crashLimit), "2 concurrent", "1 USD / 1Y hard")})
			return true
		}
		if errors.As(err, new(*journal.TornError)) {
			s.t.Fatalf("a start takes what it left itself for damage: %v", err)
		}
	}
	return false
}

// unsure reports whether err is one that a failing disk may cause, and fails the test on any other.
func (s *scripted) unsure(err error) bool {
	if err != nil && !errors.Is(err, ledger.ErrUnwritable) && !errors.Is(err, ledger.ErrEnded) {
		s.t.Fatal(err)
	}
	return err != nil
}

func (s *scripted) reserve() (*ledger.Reservation, *toldCall) {
	r, err := s.l.Reserve(context.Background(), toolCall(), nil, ledger.Hold{Cost: 5, Worst: 8})
	if _, limited := errors.AsType[*ledger.LimitError](err); limited || s.unsure(err) {
		return nil, nil
	}
	c := &toldCall{reserved: kernel, early: s.early}
	if s.durability == ledger.Strict || s.durability == ledger.Overlap && r.Synced(context.Background()) == nil {
		c.reserved = disk
	}
	s.told[r.ID()] = c
	return r, c
}

func (s *scripted) end(r *ledger.Reservation, c *toldCall, kind ledger.Kind, cost ledger.Nano) {
	if r == nil {
		return
	}
	var err error
	if kind == ledger.Voided {
		err = r.Void(ledger.Outcome{Status: ledger.Unsent})
	} else {
		err = r.Post(ledger.Outcome{Status: ledger.OK, Usage: ledger.Usage{Cost: cost}})
	}
	c.end, c.cost = kind, cost
	if !s.unsure(err) {
		c.ended = kernel
	}
	if err := r.Post(ledger.Outcome{}); !errors.Is(err, ledger.ErrEnded) {
		s.t.Fatalf("ended twice: %v", err)
	}
}

// sync makes sure of all that was written so far.
func (s *scripted) sync() {
	if s.unsure(s.l.Sync(context.Background())) {
		return
	}
	for _, c := range s.told {
		c.reserved = disk
		if c.end != 0 {
			c.ended = disk
		}
	}
}

// run goes through the script as far as the disk lets it.
func (s *scripted) run() {
	if !s.open() {
		return
	}
	r, c := s.reserve()
	s.end(r, c, ledger.Posted, 3)
	if r, c = s.reserve(); r != nil {
		s.unsure(r.Extend(2, 0))
		s.end(r, c, ledger.Posted, 9)
	}
	r, c = s.reserve()
	s.end(r, c, ledger.Voided, 0)
	s.unsure(s.l.Deny(toolCall(), nil, "no"))
	open, opened := s.reserve()
	r, c = s.reserve()
	if third, _ := s.reserve(); third != nil && open != nil && r != nil {
		s.t.Fatal("three at once under a limit of two")
	}
	s.end(r, c, ledger.Posted, 2)
	s.sync()
	s.now, s.early = noon.Add(10*day), false
	for range 2 {
		r, c = s.reserve()
		s.end(r, c, ledger.Posted, 4)
	}
	if _, err := s.l.Trim(context.Background(), 5*day); err != nil && s.failing == 0 {
		s.t.Fatal(err)
	}
	s.end(open, opened, ledger.Posted, 6)
	if err := s.l.Close(); err != nil && s.dead {
		return
	}
	if !s.open() {
		return
	}
	for range crashLimit {
		r, c = s.reserve()
		s.end(r, c, ledger.Posted, 1)
	}
	s.sync()
	s.reserve() // over the limit, if no call was refused before; else left open
}

// alive checks the process that goes on, once its disk has mended.
func (s *scripted) alive() {
	s.disk.Break(nil)
	if s.l == nil {
		s.t.Fatal("the ledger does not start")
	}
	if _, err := s.l.Check(context.Background()); err != nil {
		if _, err = s.l.Check(context.Background()); err != nil { // the first met what the disk had left
			s.t.Fatal(err)
		}
	}
	calls := int64(0)
	for _, c := range s.told {
		if c.end != ledger.Voided {
			calls++
		}
	}
	for _, b := range s.l.Balances() {
		if b.Limit.Unit == ledger.UnitCalls && b.Used+b.Held != calls || b.Used+b.Held > b.Limit.Amount {
			s.t.Errorf("%s: used %d, held %d after %d calls", b.Limit.Text, b.Used, b.Held, calls)
		}
	}
}

// leaves checks what a crash leaves of what was told to callers: at least what they were made sure of.
func (s *scripted) leaves(when string, left *durabletest.Disk, atLeast sure) {
	s.t.Helper()
	next := &scripted{t: s.t, cfg: s.cfg}
	next.cfg.Storage, next.cfg.Durability = left, ledger.Overlap
	if !next.open() {
		s.t.Fatalf("%s: nothing starts on it", when)
	}
	for _, b := range next.l.Balances() {
		if b.Held != 0 || b.Used > b.Limit.Amount {
			s.t.Errorf("%s: %s: used %d, held %d", when, b.Limit.Text, b.Used, b.Held)
		}
	}
	if _, err := next.l.Check(context.Background()); err != nil {
		s.t.Errorf("%s: %v", when, err)
	}
	if err := next.l.Close(); err != nil {
		s.t.Fatal(err)
	}
	left = left.PowerLoss(func() bool { return false }) // what a start has found must outlive it
	report, err := ledger.CheckStorage(left)
	if err != nil || report.Open != 0 {
		s.t.Errorf("%s: %+v, %v", when, report, err)
	}
	reserved, ends := map[string]int{}, map[string]ledger.Entry{}
	r := ledger.NewReader(left, journal.Position{})
	defer r.Close()
	for e, err := range r.All() {
		switch {
		case err != nil:
			s.t.Fatalf("%s: %v", when, err)
		case e.Kind == ledger.Reserved && !e.Extends():
			reserved[e.ID.String()]++
		case e.Ends():
			if _, twice := ends[e.Resolves.String()]; twice {
				s.t.Errorf("%s: %s has ended twice", when, e.Resolves)
			}
			ends[e.Resolves.String()] = *e
		}
	}
	for id, c := range s.told {
		if report.Removed > 0 && c.early {
			continue // its entries may be among those that were removed
		}
		if c.reserved >= atLeast && reserved[id] != 1 {
			s.t.Errorf("%s: a call that left has %d entries", when, reserved[id])
		}
		e, ended := ends[id]
		if c.ended >= atLeast && (!ended || e.Kind != c.end || e.Cost != c.cost) {
			s.t.Errorf("%s: a call was ended as %s for %d and stands as %s %s for %d", when, c.end, c.cost, e.Kind, e.Status, e.Cost)
		}
		if ended && e.Status != ledger.Interrupted && (e.Kind != c.end || e.Cost != c.cost) {
			s.t.Errorf("%s: an end that nobody wrote: %+v", when, e)
		}
	}
}

func (s *scripted) crashes(when string) {
	s.t.Helper()
	s.leaves(when+", killed", s.disk.Kill(), kernel)
	for name, keep := range policies() {
		s.leaves(when+", power lost, "+name, s.disk.PowerLoss(keep), disk)
	}
}

// Every single operation of a run through everything that writes (reserve, extend, post, void, deny, the next segment,
// the stored balances, retention, a start) fails in every way, with every durability. Then the process goes on, or is
// killed, or loses its power with any part of what was not synced. What callers were told holds.
func TestNothingIsLostWhicheverOperationFails(t *testing.T) {
	for _, durability := range []ledger.Durability{ledger.Overlap, ledger.Strict, ledger.Relaxed} {
		clean := newScripted(t, durability, 0, durabletest.None, false)
		clean.run()
		clean.alive()
		clean.crashes("clean")
		clean.l.Close()
		total := int(clean.operations.Load())
		if total < 40 {
			t.Fatalf("%s: only %d operations seen", durability, total)
		}
		step := 1
		if testing.Short() {
			step = 7
		}
		for n := 1; n <= total; n += step {
			for _, fault := range []durabletest.Fault{durabletest.Lost, durabletest.Half, durabletest.Kept} {
				t.Run(fmt.Sprintf("%s/%d of %d fails/%d", durability, n, total, fault), func(t *testing.T) {
					once := newScripted(t, durability, n, fault, false)
					once.run()
					once.crashes("it goes on")
					once.alive()
					if err := once.l.Close(); err != nil {
						t.Error(err)
					}
					once.crashes("it has closed")
				})
				t.Run(fmt.Sprintf("%s/dead from %d of %d on/%d", durability, n, total, fault), func(t *testing.T) {
					s := newScripted(t, durability, n, fault, true)
					s.run()
					s.crashes("the disk is dead")
					if s.l != nil {
						_ = s.l.Close()
					}
				})
			}
		}
	}
}
