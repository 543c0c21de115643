package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/durabletest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/limits"
	"github.com/tollgate/tollgate/policy"
)

// model is the ledger's rules told simply: it keeps every call for ever and adds up anew each time it is asked.
type model struct {
	loc    *time.Location
	calls  []*modelCall
	limits map[ledger.Scope][]ledger.Limit
}

type modelCall struct {
	who     *policy.Principal
	path    string
	counted bool
	laid    []policy.RuleLimit
	at      time.Time
	hold    ledger.Hold
	used    ledger.Usage
	state   string // open, posted or void
	r       *ledger.Reservation
}

// takes is how much a call takes of a limit.
func (c *modelCall) takes(l *ledger.Limit) int64 {
	switch {
	case c.state == "void":
		return 0
	case l.Unit == ledger.UnitConcurrent:
		if c.state == "open" && c.counted {
			return 1
		}
		return 0
	case l.Unit == ledger.UnitCalls:
		if c.counted {
			return 1
		}
		return 0
	case l.Unit == ledger.UnitTokens && c.state == "posted":
		return c.used.Quantities.Tokens()
	case l.Unit == ledger.UnitTokens && l.Hard:
		return max(c.hold.WorstTokens, c.hold.Tokens)
	case l.Unit == ledger.UnitTokens:
		return c.hold.Tokens
	case c.state == "posted":
		return int64(c.used.Cost)
	case l.Hard:
		return int64(max(c.hold.Worst, c.hold.Cost))
	}
	return int64(c.hold.Cost)
}

func onPath(s ledger.Scope, p *policy.Principal) bool {
	switch s.Level {
	case ledger.CustomerLevel:
		return s.Name == p.Customer
	case ledger.TeamLevel:
		return s.Name == p.Team
	case ledger.KeyLevel:
		return s.Name == p.KeyID
	}
	return s.Name == p.User
}

// counts reports whether a limit counts calls to a path; the globs here are simple enough for path.Match.
func counts(l *ledger.Limit, to string) bool {
	return len(l.On) == 0 || slices.ContainsFunc(l.On, func(glob string) bool { ok, _ := path.Match(glob, to); return ok })
}

// taken adds up a limit over the calls that count in it and lie in its window at now, looked at for extra longer.
func (m *model) taken(l *ledger.Limit, in func(*modelCall) bool, now time.Time, extra time.Duration) (sum int64) {
	from := m.start(l, now).Add(-extra)
	for _, c := range m.calls {
		if in(c) && counts(l, c.path) && (l.Unit == ledger.UnitConcurrent || c.at.After(from) || c.at.Equal(from) && !l.Window.Slides()) {
			sum += c.takes(l)
		}
	}
	return sum
}

func (m *model) start(l *ledger.Limit, now time.Time) time.Time {
	local := now.In(m.loc)
	y, mo, d := local.Date()
	switch l.Window.String() {
	case "1m":
		return now.Add(-time.Minute)
	case "1h":
		return now.Add(-time.Hour)
	case "24h":
		return now.Add(-24 * time.Hour)
	case "7d":
		return now.Add(-7 * 24 * time.Hour)
	case "1d":
	case "1w":
		for local.Weekday() != time.Monday {
			local = local.AddDate(0, 0, -1)
		}
		y, mo, d = local.Date()
	case "1M":
		d = 1
	case "1Q":
		mo, d = (mo-1)/3*3+1, 1
	case "1Y":
		mo, d = 1, 1
	}
	return time.Date(y, mo, d, 0, 0, 0, 0, m.loc)
}

// span is how far a sliding window may look back too far: the bucket it is counted in, and the row it was filled from.
func span(l *ledger.Limit) time.Duration {
	w := map[string]time.Duration{"1m": time.Minute, "1h": time.Hour, "24h": 24 * time.Hour, "7d": 7 * 24 * time.Hour}[l.Window.String()]
	return w/30 + time.Second
}

// applying lists the limits on a call's path, each with the calls that count in it.
func (m *model) applying(c *modelCall) (out []struct {
	limit ledger.Limit
	in    func(*modelCall) bool
}) {
	add := func(l ledger.Limit, in func(*modelCall) bool) {
		out = append(out, struct {
			limit ledger.Limit
			in    func(*modelCall) bool
		}{l, in})
	}
	for scope, list := range m.limits {
		for _, l := range list {
			if onPath(scope, c.who) && counts(&l, c.path) {
				add(l, func(o *modelCall) bool { return onPath(scope, o.who) })
			}
		}
	}
	for _, laid := range c.laid {
		l, _ := ledger.ParseLimit(laid.Limit)
		add(l, func(o *modelCall) bool {
			return slices.Contains(o.laid, laid) && (laid.Per == "all" || laid.Per == "user" && o.who.User == c.who.User || laid.Per == "key" && o.who.KeyID == c.who.KeyID)
		})
	}
	return out
}

// verdict says whether a call must be let through or must be refused; a sliding window may leave it open.
func (m *model) verdict(c *modelCall) (must, mustNot bool) {
	must = true
	for _, a := range m.applying(c) {
		n := c.takes(&a.limit)
		if n == 0 {
			continue
		}
		if m.taken(&a.limit, a.in, c.at, 0)+n > a.limit.Amount {
			return false, true
		}
		if a.limit.Window.Slides() && m.taken(&a.limit, a.in, c.at, span(&a.limit))+n > a.limit.Amount {
			must = false
		}
	}
	return must, false
}

// run drives a ledger and the model with the same random calls.
type run struct {
	t    *testing.T
	rng  *rand.Rand
	m    *model
	disk *durabletest.Disk
	l    *ledger.Ledger
	now  time.Time
	open []*modelCall

	passed, refused int
}

func (r *run) start() {
	r.t.Helper()
	var err error
	r.l, err = ledger.Open(ledger.Config{
		Storage: r.disk, Location: r.m.loc, DigestKey: []byte("key"), SegmentBytes: 20_000,
		Now: func() time.Time { return r.now },
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.l.SetLimits(r.m.limits)
}

// newLimits attaches other limits; balances must come out as if they had always been there.
func (r *run) newLimits() {
	texts := []string{
		"%d USD / 1d", "%d USD / 1M hard", "%d USD / 1w", "%d USD / 1Q", "%d USD / 1Y", "%d USD / 1h", "%d USD / 7d hard",
		"%d00k tokens / 1m", "%d00k tokens / 24h hard", "%d0 calls / 1h", "%d calls / 1m", "%d0 calls / 1d", "%d concurrent",
	}
	scopes := []ledger.Scope{
		{Level: ledger.CustomerLevel, Name: "acme"}, {Level: ledger.TeamLevel, Name: "red"}, {Level: ledger.KeyLevel, Name: "k0"},
		{Level: ledger.KeyLevel, Name: "k1"}, {Level: ledger.UserLevel, Name: "ann"},
	}
	r.m.limits = map[ledger.Scope][]ledger.Limit{}
	for range 1 + r.rng.IntN(6) {
		l, err := ledger.ParseLimit(fmt.Sprintf(texts[r.rng.IntN(len(texts))], 1+r.rng.IntN(9)))
		if err != nil {
			r.t.Fatal(err)
		}
		if r.rng.IntN(3) == 0 {
			l.On = [][]string{{"tracker/*"}, {"openai/*", "tracker/search"}, {"*/search"}}[r.rng.IntN(3)]
		}
		s := scopes[r.rng.IntN(len(scopes))]
		r.m.limits[s] = append(r.m.limits[s], l)
	}
	if r.l != nil {
		r.l.SetLimits(r.m.limits)
	}
}

func (r *run) call() {
	rng := r.rng
	action, upstream := policy.ToolCall, "tracker"
	if rng.IntN(2) == 0 {
		action, upstream = policy.Chat, "openai"
	}
	target := []string{"search", "create"}[rng.IntN(2)]
	c := &modelCall{
		who: &policy.Principal{
			Customer: "acme", Team: []string{"red", "blue"}[rng.IntN(2)], Key: "key", KeyID: fmt.Sprintf("k%d", rng.IntN(3)),
			User: []string{"", "ann", "bob"}[rng.IntN(3)],
		},
		path: upstream + "/" + target, at: r.now, state: "open", counted: true,
	}
	if rng.IntN(5) == 0 {
		action, c.counted = policy.ResourceList, false
	}
	c.hold = ledger.Hold{Cost: ledger.Nano(rng.Int64N(int64(ledger.USD))), Tokens: rng.Int64N(50_000)}
	c.hold.Worst, c.hold.WorstTokens = c.hold.Cost*2, c.hold.Tokens*2
	if rng.IntN(4) == 0 {
		c.laid = []policy.RuleLimit{{Rule: "r1", Limit: "4 calls / 1h", Per: "key"}, {Rule: "r2", Limit: "7 USD / 1d", Per: []string{"all", "user"}[rng.IntN(2)]}}
	}
	must, mustNot := r.m.verdict(c)
	res, err := r.l.Reserve(context.Background(), &policy.Call{Principal: c.who, Action: action, Upstream: upstream, Target: target, Now: r.now},
		&policy.Decision{Limits: c.laid}, c.hold)
	over, limited := errors.AsType[*ledger.LimitError](err)
	switch {
	case err != nil && !limited:
		r.t.Fatal(err)
	case limited && must:
		r.t.Fatalf("refused by %v, but it fits", over)
	case !limited && mustNot:
		r.t.Fatalf("let through, but it does not fit: %+v", c)
	case limited:
		r.refused++
		return
	}
	r.passed++
	c.r = res
	r.m.calls = append(r.m.calls, c)
	r.open = append(r.open, c)
}

// end ends one of the open calls.
func (r *run) end() {
	if len(r.open) == 0 {
		return
	}
	i := r.rng.IntN(len(r.open))
	c := r.open[i]
	r.open = slices.Delete(r.open, i, i+1)
	var err error
	if r.rng.IntN(4) == 0 {
		err = c.r.Void(ledger.Outcome{Status: ledger.Unsent})
		c.state = "void"
	} else {
		c.used = ledger.Usage{Cost: ledger.Nano(r.rng.Int64N(int64(c.hold.Cost)*3/2 + 1)), Quantities: ledger.Quantities{InputTokens: r.rng.Int64N(60_000)}}
		err = c.r.Post(ledger.Outcome{Status: ledger.OK, Usage: c.used})
		c.state = "posted"
	}
	if err != nil {
		r.t.Fatal(err)
	}
	if err := c.r.Post(ledger.Outcome{}); !errors.Is(err, ledger.ErrEnded) {
		r.t.Fatalf("a second end: %v", err)
	}
}

// restart closes the ledger, or kills it: calls that were open are then posted with what was held.
func (r *run) restart() {
	if r.rng.IntN(2) == 0 {
		old := r.l
		r.disk = r.disk.Kill()
		defer old.Close() // of the disk that is left behind
	} else if err := r.l.Close(); err != nil {
		r.t.Fatal(err)
	}
	for _, c := range r.open {
		hard := slices.ContainsFunc(r.m.applyingAt(c), func(l ledger.Limit) bool { return l.Hard })
		c.state = "posted"
		c.used = ledger.Usage{Cost: c.hold.Cost, Quantities: ledger.Quantities{InputTokens: c.hold.Tokens}}
		if hard {
			c.used = ledger.Usage{Cost: c.hold.Worst, Quantities: ledger.Quantities{InputTokens: c.hold.WorstTokens}}
		}
	}
	n := len(r.open)
	r.open = nil
	r.start()
	if got := r.l.Recovery().Interrupted; got != n {
		r.t.Fatalf("%d interrupted, want %d", got, n)
	}
}

// applyingAt lists the limits that were on a call's path when it was reserved.
func (m *model) applyingAt(c *modelCall) (out []ledger.Limit) {
	for _, a := range m.applying(c) {
		out = append(out, a.limit)
	}
	return out
}

func (r *run) step() {
	switch n := r.rng.IntN(100); {
	case n < 50:
		r.call()
	case n < 80:
		r.end()
	case n < 96:
		r.now = r.now.Add(time.Duration(r.rng.Int64N(int64([]time.Duration{time.Second, time.Minute, time.Hour, 30 * time.Hour}[r.rng.IntN(4)]))))
	case n < 97 && len(r.open) > 0: // which limits were on a path matters to what a crash leaves, so the same again
		r.l.SetLimits(r.m.limits)
	case n < 97:
		r.newLimits()
	case n < 98:
		r.restart()
	case n < 99:
		if _, err := r.l.Check(context.Background()); err != nil {
			r.t.Fatal(err)
		}
	}
	if got, want := int64(r.l.Spend(&policy.Principal{Customer: "acme"}, r.now).CustomerMonth*1e9+0.5), r.spentThisMonth(); abs(got-want) > 100 {
		r.t.Fatalf("spent %d, want %d", got, want)
	}
}

func abs(n int64) int64 { return max(n, -n) }

func (r *run) spentThisMonth() int64 {
	l := ledger.Limit{Unit: ledger.UnitUSD, Window: limits.Month}
	return r.m.taken(&l, func(*modelCall) bool { return true }, r.now, 0)
}

func TestLedgerAgreesWithASimpleModel(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	passed, refused := 0, 0
	for seed := range uint64(40) {
		r := &run{
			t: t, rng: rand.New(rand.NewPCG(seed, 1)), m: &model{loc: berlin}, disk: durabletest.New(),
			now: time.Date(2026, 3, 20, 12, 0, 0, 0, berlin),
		}
		r.newLimits()
		r.start()
		for range 400 {
			r.step()
		}
		if err := r.l.Close(); err != nil {
			t.Fatal(err)
		}
		report, err := ledger.CheckStorage(r.disk)
		if err != nil {
			t.Fatal(err)
		}
		if report.Open != len(r.open) || report.Calls != len(r.m.calls) {
			t.Fatalf("%+v, want %d calls, %d open", report, len(r.m.calls), len(r.open))
		}
		passed, refused = passed+r.passed, refused+r.refused
	}
	if passed < 1000 || refused < 1000 {
		t.Errorf("%d calls passed, %d refused: too few of one to mean anything", passed, refused)
	}
}
