package lease

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/durabletest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/policy"
)

// machineOf is a replica's clocks: they run at their own speed, the one on the wall is set, and the machine sleeps.
type machineOf struct {
	mu    sync.Mutex
	start time.Time
	rate  float64
	set   time.Duration // of the wall
	slept time.Duration // which monotonic did not see

	noBoot bool // there is no clock that counts a sleep
}

func (m *machineOf) read() (monotonic, wall time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	passed := time.Duration(float64(time.Since(m.start)) * m.rate)
	return passed - m.slept, passed + m.set
}

func (m *machineOf) boot() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.noBoot {
		return 0
	}
	return time.Duration(float64(time.Since(m.start)) * m.rate)
}

// site is where a replica runs: its files and its machine.
type site struct {
	w       *world
	name    string
	id      *durabletest.Disk
	journal *durabletest.Disk
	machine *machineOf
	place   string

	link   *link // nil: on a real database
	client *Client
	ledger *ledger.Ledger // guarded by the world's mu, with starts
	starts int
}

// call is one that was let through.
type call struct {
	site  *site
	at    time.Time // true
	cost  ledger.Nano
	ended time.Time // true; zero: under way
	freed time.Time // when its slot was given to others although it went on, because its replica was gone; zero: it was not
	r     *ledger.Reservation
}

// world is replicas on one model, with someone who sees all calls.
type world struct {
	t      testing.TB
	m      *model              // nil: on a real database
	store  func(s *site) store // makes a replica's connection
	silent time.Duration       // offline
	limits map[ledger.Scope][]ledger.Limit
	sites  []*site

	mu    sync.Mutex
	calls []*call
}

var bot = &policy.Principal{Customer: "acme", Team: "red", Key: "bot", KeyID: "k1"}

func limitsOf(t testing.TB, texts ...string) map[ledger.Scope][]ledger.Limit {
	out := map[ledger.Scope][]ledger.Limit{}
	for _, text := range texts {
		l, err := ledger.ParseLimit(text)
		if err != nil {
			t.Fatal(err)
		}
		s := ledger.Scope{Level: ledger.KeyLevel, Name: "k1"}
		out[s] = append(out[s], l)
	}
	return out
}

func newWorld(t testing.TB, n int, limits ...string) *world {
	w := &world{t: t, m: newModel(), limits: limitsOf(t, limits...), silent: 5 * time.Second}
	w.m.buried = w.gone
	w.store = func(s *site) store {
		s.link = w.m.link()
		return s.link
	}
	for i := range n {
		w.sites = append(w.sites, w.newSite(fmt.Sprintf("r%d", i)))
	}
	return w
}

func (w *world) newSite(name string) *site {
	return &site{
		w: w, name: name, id: durabletest.New(), journal: durabletest.New(), place: name,
		machine: &machineOf{start: time.Now(), rate: 1, set: time.Duration(len(name)) * time.Hour},
	}
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// start starts a replica and has it join.
func (s *site) start() {
	s.w.t.Helper()
	s.client = newClient(s.w.store(s), s.id, s.machine, s.w.silent, quiet)
	if err := s.client.open(context.Background()); err != nil {
		s.w.t.Fatal(err)
	}
	s.client.place = s.place
	l, err := ledger.Open(ledger.Config{Storage: s.journal, DigestKey: []byte("key"), Durability: ledger.Relaxed, Pools: s.client})
	if err != nil {
		s.w.t.Fatal(err)
	}
	l.SetLimits(s.w.limits)
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.ledger = l
}

func (w *world) start() {
	for _, s := range w.sites {
		s.start()
	}
	for _, s := range w.sites {
		s.joined()
	}
}

// joined waits until the replica may serve.
func (s *site) joined() {
	s.w.t.Helper()
	for range 3000 {
		if s.client.Alive() == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.w.t.Fatalf("%s: %v", s.name, s.client.Alive())
}

// stop ends the replica in an orderly way. Calls under way are cut.
func (s *site) stop() {
	s.w.mu.Lock()
	for _, c := range s.w.calls {
		if c.site == s && c.ended.IsZero() {
			c.ended, c.r = time.Now(), nil
		}
	}
	s.starts++
	s.w.mu.Unlock()
	if err := s.ledger.Close(); err != nil {
		s.w.t.Error(err)
	}
	if err := s.client.Close(); err != nil {
		s.w.t.Error(err)
	}
}

func (w *world) stop() {
	for _, s := range w.sites {
		s.stop()
	}
}

// kill ends the replica's process; what it left is found by the next start.
func (s *site) kill() {
	s.w.mu.Lock()
	for _, c := range s.w.calls {
		if c.site == s && c.ended.IsZero() {
			c.ended, c.r = time.Now(), nil
		}
	}
	s.starts++ // what this process does from now on nobody sees
	s.w.mu.Unlock()
	if s.link != nil {
		s.link.breaks(func() fault { return lost })
	}
	s.client.stop()
	s.client.running.Wait()
	s.client.joined = false // it says no good-bye
	old, client := s.ledger, s.client
	s.journal, s.id = s.journal.Kill(), s.id.Kill()
	_ = old.Close() // of the disk that is left behind
	_ = client.Close()
}

// call makes one call that costs what it holds, and leaves it under way.
func (s *site) call(cost ledger.Nano) (*call, error) {
	c := &policy.Call{Principal: bot, Action: policy.ToolCall, Upstream: "tracker", Target: "search"}
	s.w.mu.Lock()
	l, starts := s.ledger, s.starts
	s.w.mu.Unlock()
	r, err := l.Reserve(context.Background(), c, nil, ledger.Hold{Cost: cost, Worst: cost})
	if err != nil {
		return nil, err
	}
	made := &call{site: s, at: time.Now(), cost: cost, r: r}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if s.starts != starts {
		return nil, errKilled
	}
	s.w.calls = append(s.w.calls, made)
	return made, nil
}

// errKilled means that the process ended before the call left.
var errKilled = errors.New("killed")

// end ends a call at a cost, which may be less than it held.
func (c *call) end(cost ledger.Nano) {
	w := c.site.w
	w.mu.Lock()
	r := c.r
	if r != nil { // the process goes on
		c.r, c.ended, c.cost = nil, time.Now(), cost
	}
	w.mu.Unlock()
	if r == nil {
		return
	}
	if err := r.Post(ledger.Outcome{Status: ledger.OK, Usage: ledger.Usage{Cost: cost}}); err != nil && !errors.Is(err, ledger.ErrUnwritable) {
		w.t.Error(err)
	}
}

// passed counts the calls that were let through.
func (w *world) passed() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.calls)
}

// check sees that no limit was exceeded, in any window of true time.
func (w *world) check() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, list := range w.limits {
		for _, l := range list {
			switch {
			case l.Unit == ledger.UnitConcurrent:
				w.checkAtOnce(&l)
			case l.Window.Slides():
				w.checkSliding(&l)
			default:
				w.checkDays(&l)
			}
		}
	}
}

func (c *call) takes(l *ledger.Limit) int64 {
	if l.Unit == ledger.UnitUSD {
		return int64(c.cost)
	}
	return 1
}

func (w *world) checkSliding(l *ledger.Limit) {
	w.t.Helper()
	calls := slices.SortedFunc(slices.Values(w.calls), func(a, b *call) int { return a.at.Compare(b.at) })
	first, sum := 0, int64(0)
	for _, c := range calls {
		sum += c.takes(l)
		for !calls[first].at.After(c.at.Add(-l.Window.Length())) {
			sum -= calls[first].takes(l)
			first++
		}
		if sum > l.Amount {
			w.t.Errorf("%s: %d in the window that ends at %s, of %s", l.Text, sum, c.at, c.site.name)
			return
		}
	}
}

// edge is how far from midnight a call may have been counted in either day.
const edge = time.Second

func (w *world) checkDays(l *ledger.Limit) {
	w.t.Helper()
	sums := map[string]int64{}
	for _, c := range w.calls {
		at := c.at.UTC()
		if w.m != nil {
			at = at.Add(w.m.ahead)
		}
		day := at.Format(time.DateOnly)
		if at.Add(edge).Format(time.DateOnly) != day || at.Add(-edge).Format(time.DateOnly) != day {
			continue
		}
		if sums[day] += c.takes(l); sums[day] > l.Amount {
			w.t.Errorf("%s: %d on %s", l.Text, sums[day], day)
			return
		}
	}
}

func (w *world) checkAtOnce(l *ledger.Limit) {
	w.t.Helper()
	type edge struct {
		at time.Time
		n  int64
	}
	var edges []edge
	for _, c := range w.calls {
		edges = append(edges, edge{c.at, 1})
		switch {
		case !c.freed.IsZero():
			edges = append(edges, edge{c.freed, -1})
		case !c.ended.IsZero():
			edges = append(edges, edge{c.ended, -1})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int {
		if n := a.at.Compare(b.at); n != 0 {
			return n
		}
		return int(a.n - b.n)
	})
	sum := int64(0)
	for _, e := range edges {
		if sum += e.n; sum > l.Amount {
			w.t.Errorf("%s: %d at once at %s", l.Text, sum, e.at)
			return
		}
	}
}

// granted sees that the caps in the database are no more than the limits, but for debts, and that each replica obeys them.
func (w *world) granted() {
	w.t.Helper()
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	for k, rows := range w.m.caps {
		sum, taken, amount := int64(0), int64(0), int64(0)
		for _, row := range rows {
			sum += row.cap
			taken += row.used + row.held
			amount = max(amount, row.amount)
		}
		if sum > max(amount, taken) {
			w.t.Errorf("pool %s: caps of %d, limit %d, taken %d", k.Limit, sum, amount, taken)
			return
		}
	}
}

// gone notes that the calls under way of a replica have lost their slots.
func (w *world) gone(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.calls {
		if c.ended.IsZero() && c.freed.IsZero() && c.site.client.id == id {
			c.freed = time.Now()
		}
	}
}

// refusedByLimit fails the test for another error.
func refusedByLimit(t testing.TB, err error) bool {
	t.Helper()
	if _, ok := errors.AsType[*ledger.LimitError](err); ok {
		return true
	}
	if err != nil && !errors.Is(err, ledger.ErrOffline) && !errors.Is(err, ledger.ErrUnwritable) && !errors.Is(err, errKilled) {
		t.Errorf("%v", err)
	}
	return false
}
