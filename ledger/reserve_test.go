package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/internal/durabletest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/policy"
)

var ctx = context.Background()

// at attaches limits to the key, user, team or customer of the principal bot.
func at(t *testing.T, level ledger.Level, texts ...string) map[ledger.Scope][]ledger.Limit {
	t.Helper()
	name := map[ledger.Level]string{ledger.CustomerLevel: "acme", ledger.TeamLevel: "platform", ledger.KeyLevel: "k1", ledger.UserLevel: "ann"}[level]
	return map[ledger.Scope][]ledger.Limit{{Level: level, Name: name}: parse(t, texts...)}
}

// reserve reserves and says how it went, in one word or the limit's refusal.
func reserve(t *testing.T, l *ledger.Ledger, c *policy.Call, d *policy.Decision, h ledger.Hold) (*ledger.Reservation, *ledger.LimitError) {
	t.Helper()
	r, err := l.Reserve(ctx, c, d, h)
	over, limited := errors.AsType[*ledger.LimitError](err)
	if err != nil && !limited {
		t.Fatal(err)
	}
	return r, over
}

func post(t *testing.T, r *ledger.Reservation, cost ledger.Nano) {
	t.Helper()
	if err := r.Post(ledger.Outcome{Status: ledger.OK, Usage: ledger.Usage{Cost: cost}}); err != nil {
		t.Fatal(err)
	}
}

// checked closes the ledger and checks all of it.
func checked(t *testing.T, l *ledger.Ledger, storage durable.Dir) {
	t.Helper()
	if _, err := l.Check(ctx); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := ledger.CheckStorage(storage); err != nil {
		t.Error(err)
	}
}

func inMemory(t *testing.T, cfg ledger.Config) (*ledger.Ledger, *durabletest.Disk) {
	t.Helper()
	disk := durabletest.New()
	cfg.Storage = disk
	l, err := ledger.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l, disk
}

func TestRefusalsSayWhichLimitWhatIsLeftAndWhen(t *testing.T) {
	for _, tt := range []struct {
		level ledger.Level
		limit string
		hold  ledger.Hold
		want  string
	}{
		{ledger.KeyLevel, "0.05 USD / 1d", ledger.Hold{Cost: 20_000_000}, `limit "0.05 USD / 1d" of key bot: 0.01 USD left, this call needs 0.02 USD; retry after 12h0m0s`},
		{ledger.TeamLevel, "0.05 USD / 1M hard", ledger.Hold{Cost: 1, Worst: 20_000_000}, `limit "0.05 USD / 1M hard" of team platform: 0.01 USD left, this call needs 0.02 USD; retry after 396h0m0s`},
		{ledger.UserLevel, "2 requests / 1m", ledger.Hold{}, `limit "2 requests / 1m" of user ann: 0 calls left, this call needs 1 call; retry after 1m1s`},
		{ledger.CustomerLevel, "2 concurrent", ledger.Hold{}, `limit "2 concurrent" of customer acme: 0 calls left, this call needs 1 call; retry when a running call ends`},
		{ledger.KeyLevel, "5k tokens / 1h", ledger.Hold{Tokens: 2000}, `limit "5k tokens / 1h" of key bot: 1000 tokens left, this call needs 2000 tokens; retry after 1h1m0s`},
		{ledger.KeyLevel, "0.01 USD / 1d", ledger.Hold{Cost: 20_000_000}, `limit "0.01 USD / 1d" of key bot: 0.01 USD left, this call needs 0.02 USD; it can never fit: raise the limit or ask for less`},
		{ledger.KeyLevel, "9 USD / 1d hard", ledger.Hold{Cost: 1, Worst: ledger.Unbounded}, `limit "9 USD / 1d hard" of key bot: 9.00 USD left, this call needs an amount that cannot be bounded; it can never fit: raise the limit or ask for less`},
		{ledger.KeyLevel, "9M tokens / 1d hard", ledger.Hold{Tokens: 1, WorstTokens: ledger.Unbounded}, `limit "9M tokens / 1d hard" of key bot: 9000000 tokens left, this call needs an amount that cannot be bounded; it can never fit: raise the limit or ask for less`},
	} {
		t.Run(tt.limit, func(t *testing.T) {
			l, disk := inMemory(t, ledger.Config{Now: func() time.Time { return noon }})
			l.SetLimits(at(t, tt.level, tt.limit))
			var over *ledger.LimitError
			for range 3 {
				if _, over = reserve(t, l, toolCall(), nil, tt.hold); over != nil {
					break
				}
			}
			if over == nil || over.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", over, tt.want)
			}
			checked(t, l, disk)
			if report, err := ledger.CheckStorage(disk); err != nil || report.Denied != 1 {
				t.Errorf("the refusal has no entry: %+v, %v", report, err)
			}
		})
	}
}

func TestACallMustFitEveryLimitOnItsPath(t *testing.T) {
	l, disk := inMemory(t, ledger.Config{Now: func() time.Time { return noon }})
	all := map[ledger.Scope][]ledger.Limit{}
	for level, text := range map[ledger.Level]string{ledger.CustomerLevel: "9 calls / 1d", ledger.TeamLevel: "8 calls / 1d", ledger.KeyLevel: "1 calls / 1h", ledger.UserLevel: "1 calls / 1m"} {
		for s, list := range at(t, level, text) {
			all[s] = list
		}
	}
	l.SetLimits(all)
	if _, over := reserve(t, l, toolCall(), nil, ledger.Hold{}); over != nil {
		t.Fatal(over)
	}
	// Of the two that refuse it names the one that keeps the caller for longer.
	if _, over := reserve(t, l, toolCall(), nil, ledger.Hold{}); over == nil || over.Scope != "key bot" {
		t.Errorf("%v", over)
	}
	// What was refused took nothing anywhere.
	for _, b := range l.Balances() {
		if b.Used+b.Held != 1 {
			t.Errorf("%s %s: used %d, held %d", b.Scope, b.Limit.Text, b.Used, b.Held)
		}
	}
	checked(t, l, disk)
}

func TestGlobsSayWhatALimitCounts(t *testing.T) {
	l, disk := inMemory(t, ledger.Config{Now: func() time.Time { return noon }})
	limit := parse(t, "1 calls / 1d")
	limit[0].On = []string{"tracker/*"}
	l.SetLimits(map[ledger.Scope][]ledger.Limit{{Level: ledger.KeyLevel, Name: "k1"}: limit})
	other := &policy.Call{Principal: bot, Action: policy.Chat, Upstream: "openai", Target: "gpt-5"}
	for range 3 {
		if _, over := reserve(t, l, other, nil, ledger.Hold{}); over != nil {
			t.Fatal(over)
		}
	}
	if _, over := reserve(t, l, toolCall(), nil, ledger.Hold{}); over != nil {
		t.Fatal(over)
	}
	if _, over := reserve(t, l, toolCall(), nil, ledger.Hold{}); over == nil {
		t.Error("a second call to tracker fits")
	}
	checked(t, l, disk)
}

// A call counts once whatever its attempts; when the first never left, the first that does counts.
func TestRetriesCountOnce(t *testing.T) {
	l, disk := inMemory(t, ledger.Config{Now: func() time.Time { return noon }})
	l.SetLimits(at(t, ledger.KeyLevel, "2 calls / 1d"))
	attempt := func(n int, parent string) *ledger.Reservation {
		t.Helper()
		c := toolCall()
		c.Attempt, c.Parent = n, parent
		r, over := reserve(t, l, c, nil, ledger.Hold{})
		if over != nil {
			t.Fatal(over)
		}
		return r
	}
	used := func(want int64) {
		t.Helper()
		b := l.Balances()[0]
		if got := b.Used + b.Held; got != want {
			t.Errorf("%d calls counted, want %d", got, want)
		}
	}
	first := attempt(1, "")
	post(t, first, 0)
	second := attempt(2, first.ID())
	third := attempt(3, first.ID())
	post(t, second, 0)
	post(t, third, 0)
	used(1)

	first = attempt(1, "")
	used(2)
	if err := first.Void(ledger.Outcome{Status: ledger.Unsent}); err != nil {
		t.Fatal(err)
	}
	used(1)
	second = attempt(2, first.ID())
	used(2)
	post(t, second, 0)
	if _, over := reserve(t, l, toolCall(), nil, ledger.Hold{}); over == nil {
		t.Error("a third call fits")
	}
	checked(t, l, disk)
}

func TestListsSessionsAndOwnActionsDoNotCount(t *testing.T) {
	l, disk := inMemory(t, ledger.Config{Now: func() time.Time { return noon }})
	l.SetLimits(at(t, ledger.KeyLevel, "0 calls / 1d", "0 concurrent", "0 USD / 1d"))
	for _, action := range []policy.Action{policy.ToolList, policy.ResourceRead, policy.ScriptRun, policy.ModelList} {
		if _, over := reserve(t, l, &policy.Call{Principal: bot, Action: action, Upstream: "tracker"}, nil, ledger.Hold{}); over != nil {
			t.Errorf("%s: %v", action, over)
		}
		if _, over := reserve(t, l, &policy.Call{Principal: bot, Action: action, Upstream: "tracker"}, nil, ledger.Hold{Cost: 1}); over == nil {
			t.Errorf("%s: its money does not count", action)
		}
	}
	own := &policy.Call{Principal: bot, Action: policy.ServerDiscover, Upstream: "tracker", OnBehalf: "bot"}
	r, over := reserve(t, l, own, &policy.Decision{Limits: []policy.RuleLimit{{Rule: "r", Limit: "0 USD / 1d"}}}, ledger.Hold{Cost: 5})
	if over != nil {
		t.Fatalf("an own action: %v", over)
	}
	post(t, r, 5)
	checked(t, l, disk)
}

func TestLimitsLaidByRules(t *testing.T) {
	ann := &policy.Principal{Customer: "acme", Team: "red", KeyID: "k1", User: "ann"}
	bob := &policy.Principal{Customer: "acme", Team: "red", KeyID: "k1", User: "bob"}
	web := &policy.Principal{Customer: "acme", Team: "blue", KeyID: "k2", User: "ann"}
	for _, tt := range []struct {
		per  string
		free []*policy.Principal // that a call of ann with k1 takes nothing from
		full []*policy.Principal
	}{
		{"", []*policy.Principal{web}, []*policy.Principal{ann, bob}},
		{"key", []*policy.Principal{web}, []*policy.Principal{ann, bob}},
		{"user", []*policy.Principal{bob}, []*policy.Principal{ann, web}},
		{"team", []*policy.Principal{web}, []*policy.Principal{ann, bob}},
		{"customer", nil, []*policy.Principal{ann, bob, web}},
		{"all", nil, []*policy.Principal{ann, bob, web}},
	} {
		t.Run(tt.per, func(t *testing.T) {
			l, disk := inMemory(t, ledger.Config{Now: func() time.Time { return noon }})
			d := &policy.Decision{Limits: []policy.RuleLimit{{Rule: "search-rate", Limit: "1 calls / 1d", Per: tt.per}}}
			call := func(p *policy.Principal) (*ledger.Reservation, *ledger.LimitError) {
				c := toolCall()
				c.Principal = p
				return reserve(t, l, c, d, ledger.Hold{})
			}
			r, over := call(ann)
			if over != nil {
				t.Fatal(over)
			}
			for _, p := range tt.full {
				if _, over := call(p); over == nil || !strings.HasPrefix(over.Scope, "rule search-rate") {
					t.Errorf("%+v: %v", p, over)
				}
			}
			for _, p := range tt.free {
				if _, over := call(p); over != nil {
					t.Errorf("%+v: %v", p, over)
				}
			}
			post(t, r, 0)
			if _, over := call(ann); over == nil {
				t.Error("the end of the call gave it back")
			}
			l.Close()
			// It is there after a start, before any call has met the rule.
			l, err := ledger.Open(ledger.Config{Storage: disk, Now: func() time.Time { return noon }})
			if err != nil {
				t.Fatal(err)
			}
			if _, over := call(ann); over == nil {
				t.Error("forgotten over a start")
			}
			checked(t, l, disk)
		})
	}
	l, _ := inMemory(t, ledger.Config{})
	defer l.Close()
	for _, bad := range []policy.RuleLimit{{Rule: "r", Limit: "many calls"}, {Rule: "r", Limit: "1 calls / 1d", Per: "planet"}} {
		if _, err := l.Reserve(ctx, toolCall(), &policy.Decision{Limits: []policy.RuleLimit{bad}}, ledger.Hold{}); err == nil || !strings.Contains(err.Error(), "rule r") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestExtendHoldsMoreOrRefuses(t *testing.T) {
	l, disk := inMemory(t, ledger.Config{Now: func() time.Time { return noon }})
	l.SetLimits(at(t, ledger.KeyLevel, "0.0000001 USD / 1d", "1k tokens / 1d", "5 calls / 1d"))
	r, over := reserve(t, l, toolCall(), nil, ledger.Hold{Cost: 50, Tokens: 100})
	if over != nil {
		t.Fatal(over)
	}
	if err := r.Extend(30, 0); err != nil {
		t.Fatal(err)
	}
	if _, ok := errors.AsType[*ledger.LimitError](r.Extend(30, 0)); !ok {
		t.Error("more money than there is")
	}
	if _, ok := errors.AsType[*ledger.LimitError](r.Extend(0, 901)); !ok {
		t.Error("more tokens than there are")
	}
	if err := r.Extend(20, 900); err != nil {
		t.Error(err)
	}
	if got := r.Held(); got.Cost != 100 || got.Quantities.Tokens() != 1000 || got.Quantities.Calls != 1 || !got.Estimated {
		t.Errorf("held %+v", got)
	}
	for _, b := range l.Balances() {
		if b.Limit.Unit != ledger.UnitCalls && b.Left != 0 || b.Used != 0 {
			t.Errorf("%+v", b)
		}
	}
	post(t, r, 130) // the truth, 30 more than was held
	if err := r.Extend(1, 1); !errors.Is(err, ledger.ErrEnded) {
		t.Errorf("after its end: %v", err)
	}
	if b := l.Balances()[0]; b.Used != 130 || b.Left != 0 {
		t.Errorf("%+v", b)
	}
	checked(t, l, disk)
}

// A hard limit holds the worst case, so extending a call up to it takes nothing more.
func TestExtendUnderAHardLimit(t *testing.T) {
	l, disk := inMemory(t, ledger.Config{Now: func() time.Time { return noon }})
	l.SetLimits(at(t, ledger.KeyLevel, "0.0000001 USD / 1d hard"))
	r, over := reserve(t, l, toolCall(), nil, ledger.Hold{Cost: 10, Worst: 100})
	if over != nil {
		t.Fatal(over)
	}
	if err := r.Extend(90, 0); err != nil {
		t.Error(err)
	}
	if _, ok := errors.AsType[*ledger.LimitError](r.Extend(1, 0)); !ok {
		t.Error("more than the worst case")
	}
	if got := r.Held(); got.Cost != 100 {
		t.Errorf("held %+v", got)
	}
	checked(t, l, disk) // leaves it open
	l, err := ledger.Open(ledger.Config{Storage: disk})
	if err != nil {
		t.Fatal(err)
	}
	checked(t, l, disk)
	report, err := ledger.CheckStorage(disk)
	if err != nil || report.Cost != 100 || report.Open != 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestUsageThatCannotBeIsClamped(t *testing.T) {
	l, disk := inMemory(t, ledger.Config{})
	l.SetLimits(at(t, ledger.KeyLevel, "5 USD / 1d", "5k tokens / 1d"))
	for _, u := range []ledger.Usage{
		{Cost: -5, Quantities: ledger.Quantities{InputTokens: -5}},
		{Cost: 1 << 62, Quantities: ledger.Quantities{InputTokens: 1 << 62, OutputTokens: 1 << 62}},
	} {
		r, over := reserve(t, l, toolCall(), nil, ledger.Hold{})
		if over != nil {
			t.Fatal(over)
		}
		if err := r.Post(ledger.Outcome{Status: ledger.OK, Usage: u}); err != nil {
			t.Fatal(err)
		}
		for _, b := range l.Balances() {
			if b.Used < 0 || b.Left < 0 {
				t.Errorf("%+v", b)
			}
		}
	}
	for _, h := range []ledger.Hold{{Cost: -1}, {Tokens: -1}, {Cost: 1 << 62}} {
		if _, err := l.Reserve(ctx, toolCall(), nil, h); err == nil {
			t.Errorf("a hold of %+v is taken", h)
		}
	}
	checked(t, l, disk)
}

func TestCallsThatCannotBeNamedAreRefused(t *testing.T) {
	l, disk := inMemory(t, ledger.Config{})
	r, _ := reserve(t, l, toolCall(), nil, ledger.Hold{})
	for name, c := range map[string]policy.Call{
		"id":         {Principal: bot, Action: policy.ToolCall, ID: "7"},
		"parent":     {Principal: bot, Action: policy.ToolCall, Parent: "x"},
		"used twice": {Principal: bot, Action: policy.ToolCall, ID: r.ID()},
	} {
		if _, err := l.Reserve(ctx, &c, nil, ledger.Hold{}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	checked(t, l, disk)
}

// Refusals of callers without a key: the first at once, the others of the minute as one entry.
func TestRefusalsWithoutAKeyAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, disk := inMemory(t, ledger.Config{})
		refuse := func(source string, n int) {
			for range n {
				if err := l.Deny(&policy.Call{Source: source}, nil, "no valid key"); err != nil {
					t.Fatal(err)
				}
			}
		}
		entries := func() map[string][]int64 {
			if err := l.Sync(ctx); err != nil {
				t.Fatal(err)
			}
			out := map[string][]int64{}
			r := l.Reader(journal.Position{})
			defer r.Close()
			for e, err := range r.All() {
				if err != nil {
					t.Fatal(err)
				}
				out[e.Source] = append(out[e.Source], max(1, e.Quantities.Calls))
			}
			return out
		}
		refuse("203.0.113.1", 50)
		refuse("203.0.113.2", 1)
		if got := fmt.Sprint(entries()); got != "map[203.0.113.1:[1] 203.0.113.2:[1]]" {
			t.Errorf("at once: %s", got)
		}
		time.Sleep(80 * time.Second)
		refuse("203.0.113.1", 3)
		if got := fmt.Sprint(entries()); got != "map[203.0.113.1:[1 49] 203.0.113.2:[1]]" {
			t.Errorf("after a minute: %s", got)
		}
		time.Sleep(5 * time.Minute)
		if got := fmt.Sprint(entries()); got != "map[203.0.113.1:[1 49 3] 203.0.113.2:[1]]" {
			t.Errorf("after more: %s", got)
		}
		for i := range 3000 { // more sources than are told apart
			refuse(fmt.Sprintf("198.51.100.%d", i), 2)
		}
		if got := len(entries()); got > 1200 {
			t.Errorf("%d sources", got)
		}
		checked(t, l, disk)
		report, err := ledger.CheckStorage(disk)
		if err != nil || report.Denied > 2*1030 {
			t.Errorf("%+v, %v", report, err)
		}
	})
}

func TestSlidingWindowFreesAsTimeGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, disk := inMemory(t, ledger.Config{})
		l.SetLimits(at(t, ledger.KeyLevel, "3 calls / 1m"))
		for range 3 {
			r, over := reserve(t, l, toolCall(), nil, ledger.Hold{})
			if over != nil {
				t.Fatal(over)
			}
			post(t, r, 0)
			time.Sleep(10 * time.Second)
		}
		_, over := reserve(t, l, toolCall(), nil, ledger.Hold{})
		if over == nil || over.RetryAfter < 30*time.Second || over.RetryAfter > 32*time.Second {
			t.Fatalf("%+v", over)
		}
		time.Sleep(over.RetryAfter - 2*time.Second)
		if _, over := reserve(t, l, toolCall(), nil, ledger.Hold{}); over == nil {
			t.Error("let through before its time")
		}
		time.Sleep(2 * time.Second)
		if _, over := reserve(t, l, toolCall(), nil, ledger.Hold{}); over != nil {
			t.Errorf("it came back when it was told: %v", over)
		}
		checked(t, l, disk)
	})
}

// A clock that was ahead and is set right does not lock anybody out, nor does it free what was used.
func TestClockSetBack(t *testing.T) {
	now := noon.AddDate(2, 0, 0)
	l, disk := inMemory(t, ledger.Config{Now: func() time.Time { return now }})
	l.SetLimits(at(t, ledger.KeyLevel, "2 calls / 1d"))
	r, _ := reserve(t, l, toolCall(), nil, ledger.Hold{})
	post(t, r, 0)
	now = noon
	if _, over := reserve(t, l, toolCall(), nil, ledger.Hold{}); over != nil {
		t.Fatalf("after the clock was set back: %v", over)
	}
	_, over := reserve(t, l, toolCall(), nil, ledger.Hold{})
	if over == nil || over.RetryAfter != 12*time.Hour {
		t.Errorf("%+v", over)
	}
	checked(t, l, disk)
}

// Calls are reserved in an order that is not quite that in which they came. What comes late counts when the one before it
// did, perhaps in the next period, and its entry says so: whoever adds up entries comes to what the limit has counted.
func TestAnEntryHasTheTimeAtWhichItCounts(t *testing.T) {
	disk := durabletest.New()
	midnight := noon.Truncate(24*time.Hour).AddDate(0, 0, 1)
	l := open(t, ledger.Config{Storage: disk, Now: func() time.Time { return midnight }})
	l.SetLimits(at(t, ledger.KeyLevel, "2 calls / 1d"))
	days := map[int]int{}
	for _, came := range []time.Duration{-3 * time.Second, -2 * time.Second, time.Millisecond, -time.Millisecond, 2 * time.Millisecond} {
		c := toolCall()
		c.Now = midnight.Add(came)
		if r, _ := reserve(t, l, c, nil, ledger.Hold{}); r != nil {
			post(t, r, 0)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	reader := ledger.NewReader(disk, journal.Position{})
	defer reader.Close()
	for e, err := range reader.All() {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == ledger.Reserved {
			days[e.Time.Day()]++
		}
	}
	if want := map[int]int{noon.Day(): 2, midnight.Day(): 2}; !maps.Equal(days, want) {
		t.Errorf("calls by day: %v, want %v", days, want)
	}
}

func TestInterruptedCallsArePosted(t *testing.T) {
	dir := t.TempDir()
	l := open(t, ledger.Config{Dir: dir})
	c := toolCall()
	c.TraceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	r, _ := reserve(t, l, c, &policy.Decision{Rules: []string{"all"}, Revision: "r1"}, ledger.Hold{Cost: 50, Tokens: 10})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Post(ledger.Outcome{}); !errors.Is(err, ledger.ErrUnwritable) {
		t.Errorf("after Close: %v", err)
	}
	// An inspection writes nothing and shows it as held.
	limits := at(t, ledger.KeyLevel, "5 USD / 1Y")
	for range 2 {
		balances, err := ledger.Inspect(ledger.Config{Dir: dir}, limits)
		if err != nil || len(balances) != 1 || balances[0].Held != 50 || balances[0].Used != 0 {
			t.Errorf("%+v, %v", balances, err)
		}
	}
	l = open(t, ledger.Config{Dir: dir})
	if l.Recovery().Interrupted != 1 {
		t.Errorf("%+v", l.Recovery())
	}
	reader := l.Reader(journal.Position{})
	defer reader.Close()
	var last ledger.Entry
	for e, err := range reader.All() {
		if err != nil {
			t.Fatal(err)
		}
		last = *e
	}
	if last.Kind != ledger.Posted || last.Status != ledger.Interrupted || last.Resolves.String() != r.ID() || last.Cost != 50 ||
		!last.Estimated || last.Quantities.Tokens() != 10 || last.Who.Key != "bot" || last.Trace.String() != c.TraceID {
		t.Errorf("%+v", last)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// The checkpoint is a cache: without it, or with one that is damaged, a start comes to the same.
func TestCheckpointCanBeLost(t *testing.T) {
	dir := t.TempDir()
	clock := func() time.Time { return noon }
	l := open(t, ledger.Config{Dir: dir, Now: clock, SegmentBytes: 4000})
	for i := range 100 {
		r, _ := reserve(t, l, toolCall(), nil, ledger.Hold{Cost: 5})
		if i%9 > 0 {
			post(t, r, 3)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	limits := at(t, ledger.KeyLevel, "5 USD / 1Y", "500 calls / 1h")
	want, err := ledger.Inspect(ledger.Config{Dir: dir, Now: clock}, limits)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "balances.checkpoint")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Check(dir); err == nil {
		t.Error("a damaged checkpoint passes the check")
	}
	for range 2 {
		got, err := ledger.Inspect(ledger.Config{Dir: dir, Now: clock}, limits)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got  %v\nwant %v\n%v", got, want, err)
		}
		os.Remove(name)
	}
	// But a journal that ends before the checkpoint was made has lost entries, and says so.
	l = open(t, ledger.Config{Dir: dir, Now: clock})
	r, _ := reserve(t, l, toolCall(), nil, ledger.Hold{Cost: 5})
	post(t, r, 5)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	segments, _ := filepath.Glob(filepath.Join(dir, "*.journal"))
	if err := os.Truncate(segments[len(segments)-1], 100); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Open(ledger.Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "ends before") {
		t.Errorf("a journal that was cut: %v", err)
	}
}

func TestOnlyOneLedgerPerDirectory(t *testing.T) {
	dir := t.TempDir()
	l := open(t, ledger.Config{Dir: dir})
	defer l.Close()
	if _, err := ledger.Open(ledger.Config{Dir: dir}); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("%v", err)
	}
}

func TestDigestIsKeyed(t *testing.T) {
	digest := func(key, args string) string {
		l, disk := inMemory(t, ledger.Config{DigestKey: []byte(key)})
		defer checked(t, l, disk)
		return l.Digest("", []byte(args)).String()
	}
	if a, b := digest("k", `{"a":1}`), digest("k", `{"a":1}`); a != b || len(a) != 64 {
		t.Errorf("%s and %s", a, b)
	}
	if digest("k", `{"a":1}`) == digest("l", `{"a":1}`) || digest("k", `{"a":1}`) == digest("k", `{"a":2}`) {
		t.Error("the key or the arguments do not matter")
	}
	if got := digest("k", ""); got != "" {
		t.Errorf("no arguments: %s", got)
	}
}

// Texts of any length fit, the first part of them counts, and entries of them are the same after a start.
func TestLongTextsAreCut(t *testing.T) {
	l, disk := inMemory(t, ledger.Config{Now: func() time.Time { return noon }})
	l.SetLimits(at(t, ledger.CustomerLevel, "1 calls / 1d"))
	long := strings.Repeat("é", 3<<20)
	c := &policy.Call{Principal: &policy.Principal{Customer: "acme", Client: long}, Action: policy.ToolCall, Upstream: "files", Target: long}
	r, over := reserve(t, l, c, nil, ledger.Hold{})
	if over != nil {
		t.Fatal(over)
	}
	if err := r.Post(ledger.Outcome{Status: ledger.OK, Detail: long}); err != nil {
		t.Fatal(err)
	}
	if _, over := reserve(t, l, c, nil, ledger.Hold{}); over == nil {
		t.Error("a second call fits")
	}
	if err := l.Deny(c, nil, long); err != nil {
		t.Fatal(err)
	}
	checked(t, l, disk)
}

// A text of a caller's that is no UTF-8 stands in entries as text all the same, so that everything made from them agrees: the
// balances as they are stored, and the strings of the journal's schema.
func TestTextsThatAreNoUTF8(t *testing.T) {
	disk := durabletest.New()
	l := open(t, ledger.Config{Storage: disk})
	for _, target := range []string{"file:///\xff\xfe", strings.Repeat("\x80", 5000), strings.Repeat("x", 1023) + "ä", "plain"} {
		c := toolCall()
		c.Action, c.Target = policy.ResourceRead, target
		r, _ := reserve(t, l, c, nil, ledger.Hold{})
		post(t, r, 1)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.CheckStorage(disk); err != nil {
		t.Error(err)
	}
	r := ledger.NewReader(disk, journal.Position{})
	defer r.Close()
	for e, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == ledger.Reserved && (!utf8.ValidString(e.Target) || e.Target == "" || len(e.Target) > 1024) {
			t.Errorf("%q", e.Target)
		}
	}
}
