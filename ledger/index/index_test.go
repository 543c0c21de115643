package index_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/index"
	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/policy"
)

var noon = time.Date(2026, 11, 14, 12, 0, 0, 0, time.UTC)

const trace = "4bf92f3577b34da6a3ce929d0e0e4736"

// book is a ledger with an index that follows it, and a clock that goes a second on with each call.
type book struct {
	t   *testing.T
	dir string
	l   *ledger.Ledger
	ix  *index.Index
	now time.Time
	on  *engine

	stop context.CancelFunc
	done chan struct{}
}

// open opens the ledger in dir and its index in SQLite.
func open(t *testing.T, dir string) *book { return openOn(t, &engine{}, dir) }

func openOn(t *testing.T, on *engine, dir string) *book {
	t.Helper()
	return openWith(t, on, dir, func(err error) { t.Error(err) })
}

// openQuietly opens an index whose database may fail.
func openQuietly(t *testing.T, on *engine, dir string) *book {
	t.Helper()
	return openWith(t, on, dir, nil)
}

func openWith(t *testing.T, on *engine, dir string, failed func(error)) *book {
	t.Helper()
	b := &book{t: t, dir: dir, now: noon, done: make(chan struct{}), on: on}
	var err error
	if b.l, err = ledger.Open(ledger.Config{Dir: dir, Now: func() time.Time { return b.now }}); err != nil {
		t.Fatal(err)
	}
	if b.ix, err = on.open(dir, b.l); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	go func() {
		defer close(b.done)
		b.ix.Run(ctx, failed)
	}()
	return b
}

func (b *book) close() {
	b.t.Helper()
	b.stop()
	<-b.done
	if err := b.ix.Close(); err != nil {
		b.t.Error(err)
	}
	if err := b.l.Close(); err != nil {
		b.t.Error(err)
	}
	if _, err := ledger.Check(b.dir); err != nil {
		b.t.Error(err)
	}
}

// reserve reserves a call of one of two keys.
func (b *book) reserve(key string, action policy.Action, upstream, target string) *ledger.Reservation {
	b.t.Helper()
	b.now = b.now.Add(time.Second)
	r, err := b.l.Reserve(context.Background(), call(b.now, key, action, upstream, target), &policy.Decision{Rules: []string{"all"}, Revision: "r1"},
		ledger.Hold{Cost: 500, Tokens: 100})
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func call(now time.Time, key string, action policy.Action, upstream, target string) *policy.Call {
	return &policy.Call{
		Principal: &policy.Principal{Customer: "acme", Team: "platform", Key: key, KeyID: "id-" + key},
		Action:    action, Upstream: upstream, Target: target, TraceID: trace, Now: now,
	}
}

func (b *book) post(r *ledger.Reservation, status ledger.Status, cost ledger.Nano) {
	b.t.Helper()
	u := ledger.Usage{Cost: cost, Quantities: ledger.Quantities{InputTokens: 7, OutputTokens: 3}}
	if err := r.Post(ledger.Outcome{Status: status, Code: 200, Usage: u, Latency: 42 * time.Millisecond}); err != nil {
		b.t.Fatal(err)
	}
}

// fill makes a small day: a tool call, a model call, one cut, one void, one under way, one refused.
func (b *book) fill() {
	b.post(b.reserve("bot", policy.ToolCall, "tracker", "search"), ledger.OK, 10)
	b.post(b.reserve("bot", policy.Chat, "openai", "gpt-5"), ledger.OK, 200)
	b.post(b.reserve("web", policy.Chat, "openai", "gpt-5-mini"), ledger.Cut, 3000)
	void := b.reserve("web", policy.ToolCall, "files", "read")
	if err := void.Void(ledger.Outcome{Status: ledger.Unsent}); err != nil {
		b.t.Fatal(err)
	}
	b.reserve("bot", policy.ToolCall, "tracker", "create")
	b.now = b.now.Add(time.Second)
	if err := b.l.Deny(call(b.now, "web", policy.ToolCall, "tracker", "delete"), nil, "not yours"); err != nil {
		b.t.Fatal(err)
	}
}

func (b *book) caughtUp() {
	b.t.Helper()
	if err := b.ix.CatchUp(context.Background()); err != nil {
		b.t.Fatal(err)
	}
}

// lines writes calls so that they can be compared with what is expected.
func lines(t *testing.T, ix *index.Index, f index.Filter) string {
	t.Helper()
	page, err := ix.Calls(context.Background(), f)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, c := range page.Items {
		out = append(out, fmt.Sprintf("%s %s %s/%s %s %d", c.Kind, c.Who.Key, c.Upstream, c.Target, c.Status, c.Cost))
	}
	return strings.Join(out, "\n")
}

func testFiltersFindCalls(t *testing.T, on *engine) {
	b := openOn(t, on, t.TempDir())
	defer b.close()
	b.fill()
	b.caughtUp()
	const all = `denied web tracker/delete  0
reserved bot tracker/create  0
voided web files/read unsent 0
posted web openai/gpt-5-mini cut 3000
posted bot openai/gpt-5 ok 200
posted bot tracker/search ok 10`
	oldest := strings.Split(all, "\n")
	slices.Reverse(oldest)
	line := func(numbers ...int) string {
		var out []string
		for _, n := range numbers {
			out = append(out, strings.Split(all, "\n")[n])
		}
		return strings.Join(out, "\n")
	}
	traced := ledger.TraceID{}
	if err := traced.UnmarshalText([]byte(trace)); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		filter index.Filter
		want   string
	}{
		"everything":        {index.Filter{}, all},
		"oldest first":      {index.Filter{OldestFirst: true}, strings.Join(oldest, "\n")},
		"of a key":          {index.Filter{Key: "web"}, line(0, 2, 3)},
		"of a key's id":     {index.Filter{Key: "id-web"}, line(0, 2, 3)},
		"of a customer":     {index.Filter{Customer: "acme", Team: "platform"}, all},
		"of another":        {index.Filter{Customer: "other"}, ""},
		"of a user":         {index.Filter{User: "ann"}, ""},
		"of an action":      {index.Filter{Action: "llm.chat"}, line(3, 4)},
		"by a glob":         {index.Filter{Target: "gpt-5*"}, line(3, 4)},
		"? is no wildcard":  {index.Filter{Target: "gpt-?*"}, ""},
		"of an upstream":    {index.Filter{Upstream: "tracker", Kinds: []ledger.Kind{ledger.Posted, ledger.Denied}}, line(0, 5)},
		"under way":         {index.Filter{Kinds: []ledger.Kind{ledger.Reserved}}, line(1)},
		"by outcome":        {index.Filter{Outcome: "cut"}, line(3)},
		"of a trace":        {index.Filter{Trace: traced}, all},
		"of no trace":       {index.Filter{Trace: ledger.TraceID{1}}, ""},
		"from, to":          {index.Filter{From: noon.Add(2 * time.Second), To: noon.Add(4 * time.Second)}, line(3, 4)},
		"a hostile text":    {index.Filter{Key: `x' OR 1=1 --`}, ""},
		"a parent of none":  {index.Filter{Parent: ledger.ID{1}}, ""},
		"an id of no call":  {index.Filter{ID: ledger.ID{1}}, ""},
		"one that is known": {index.Filter{ID: newest(t, b).ID}, line(0)},
	} {
		t.Run(name, func(t *testing.T) {
			if got := lines(t, b.ix, tt.filter); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// A trace may have calls in several blocks, and blocks without any in between.
func TestTraceIsFoundInEveryBlock(t *testing.T) {
	dir := t.TempDir()
	l, err := ledger.Open(ledger.Config{Dir: dir, Durability: ledger.Relaxed})
	if err != nil {
		t.Fatal(err)
	}
	const other, calls = "00000000000000000000000000000001", 3 << 12
	var want []string
	for i := range calls {
		c := call(noon.Add(time.Duration(i)*time.Millisecond), "bot", policy.ToolCall, "tracker", "find")
		if i != 0 && i != calls/2 && i != calls-1 {
			c.TraceID = other
		}
		r, err := l.Reserve(t.Context(), c, nil, ledger.Hold{})
		if err == nil {
			err = r.Post(ledger.Outcome{Status: ledger.OK})
		}
		if err != nil {
			t.Fatal(err)
		}
		if c.TraceID == trace {
			want = append(want, r.ID())
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ix, err := index.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer ix.Close()
	traced := ledger.TraceID{}
	if err := traced.UnmarshalText([]byte(trace)); err != nil {
		t.Fatal(err)
	}
	page, err := ix.Calls(t.Context(), index.Filter{Trace: traced, OldestFirst: true})
	var got []string
	for _, c := range page.Items {
		got = append(got, c.ID.String())
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("found %v, want %v: %v", got, want, err)
	}
}

func newest(t *testing.T, b *book) ledger.Entry {
	t.Helper()
	page, err := b.ix.Calls(context.Background(), index.Filter{Limit: 1})
	if err != nil || len(page.Items) != 1 {
		t.Fatal(page, err)
	}
	return page.Items[0].Entry
}

func testPagesCoverEverythingOnce(t *testing.T, on *engine) {
	b := openOn(t, on, t.TempDir())
	defer b.close()
	for range 5 {
		b.fill()
	}
	b.caughtUp()
	for _, oldest := range []bool{false, true} {
		seen := map[ledger.ID]bool{}
		f := index.Filter{Limit: 7, OldestFirst: oldest}
		for pages := 0; ; pages++ {
			page, err := b.ix.Calls(context.Background(), f)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range page.Items {
				if seen[c.ID] {
					t.Errorf("call %s twice", c.ID)
				}
				seen[c.ID] = true
			}
			if f.After = page.Next; f.After == "" {
				break
			}
		}
		if len(seen) != 30 {
			t.Errorf("%d calls on the pages, want 30", len(seen))
		}
	}
	for _, never := range []string{"!", "AA", "AQ", "AgIC"} {
		if _, err := b.ix.Calls(context.Background(), index.Filter{After: never}); !isFilterError(err) {
			t.Errorf("page %q, which was never given out, is taken: %v", never, err)
		}
	}
}

func testEntriesAreThoseOfTheJournal(t *testing.T, on *engine) {
	b := openOn(t, on, t.TempDir())
	r := b.reserve("bot", policy.Chat, "openai", "gpt-5")
	b.caughtUp() // its extension and its end come in later batches
	if err := r.Extend(40, 9); err != nil {
		t.Fatal(err)
	}
	b.caughtUp()
	b.post(r, ledger.OK, 520)
	b.fill()
	b.caughtUp()
	page, err := b.ix.Entries(context.Background(), index.Filter{ID: ledger.ID(mustID(t, r.ID()))})
	if err != nil || len(page.Items) != 3 {
		t.Fatalf("%d entries, %v", len(page.Items), err)
	}
	calls, err := b.ix.Calls(context.Background(), index.Filter{ID: mustID(t, r.ID())})
	if err != nil || len(calls.Items) != 1 {
		t.Fatal(err)
	}
	c := calls.Items[0]
	if c.Hold != 540 || c.HoldTokens != 109 || c.Cost != 520 || c.Latency != 42*time.Millisecond || c.Ended.IsZero() || c.Revision != "r1" {
		t.Errorf("%+v", c)
	}
	byID := map[ledger.ID]string{}
	all, err := b.ix.Entries(context.Background(), index.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all.Items {
		byID[e.ID] = fmt.Sprintf("%+v", e)
	}
	b.close()
	n := 0
	for e, err := range reader(t, b.dir).All() {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if got := fmt.Sprintf("%+v", *e); byID[e.ID] != got {
			t.Errorf("indexed %s\njournal %s", byID[e.ID], got)
		}
	}
	if n != len(byID) {
		t.Errorf("%d entries in the journal, %d in the index", n, len(byID))
	}
}

func mustID(t *testing.T, s string) ledger.ID {
	t.Helper()
	id, err := ledger.ParseID(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func testUsageSumsUp(t *testing.T, on *engine) {
	b := openOn(t, on, t.TempDir())
	defer b.close()
	b.fill()
	b.caughtUp()
	b.fill() // the same hour in a later batch
	b.caughtUp()
	for _, tt := range []struct {
		filter index.Filter
		by     []string
		want   string
	}{
		{index.Filter{}, nil, "[]: 6 calls, 2 denied, 2 failed, 6420 nano, 60 tokens"},
		{index.Filter{}, []string{"key"}, "[web]: 2 calls, 2 denied, 2 failed, 6000 nano, 20 tokens; [bot]: 4 calls, 0 denied, 0 failed, 420 nano, 40 tokens"},
		{index.Filter{Upstream: "openai"}, []string{"target", "customer"}, "[gpt-5-mini acme]: 2 calls, 0 denied, 2 failed, 6000 nano, 20 tokens; [gpt-5 acme]: 2 calls, 0 denied, 0 failed, 400 nano, 20 tokens"},
		{index.Filter{To: noon}, []string{"key"}, ""},
		{index.Filter{From: noon, To: noon.Add(time.Hour), Key: "bot"}, []string{"team"}, "[platform]: 4 calls, 0 denied, 0 failed, 420 nano, 40 tokens"},
	} {
		use, err := b.ix.Usage(context.Background(), tt.filter, tt.by...)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, u := range use.Items {
			got = append(got, fmt.Sprintf("%v: %d calls, %d denied, %d failed, %d nano, %d tokens", u.Group, u.Calls, u.Denied, u.Failed, u.Cost, u.Tokens))
		}
		if g := strings.Join(got, "; "); g != tt.want {
			t.Errorf("by %v: got %s\nwant %s", tt.by, g, tt.want)
		}
	}
	if _, err := b.ix.Usage(context.Background(), index.Filter{}, "1; DROP TABLE usage"); err == nil {
		t.Error("an unknown column is taken")
	}
}

// The index is derived: whatever is lost of it comes back, and nothing is counted twice.
func TestIndexIsMadeAgainFromTheJournal(t *testing.T) {
	b := open(t, t.TempDir())
	b.fill()
	b.caughtUp()
	want := lines(t, b.ix, index.Filter{})
	usage, _ := b.ix.Usage(context.Background(), index.Filter{}, "key")
	b.close()
	for range 2 {
		ix, err := index.Read(b.dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := lines(t, ix, index.Filter{}); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		again, _ := ix.Usage(context.Background(), index.Filter{}, "key")
		if fmt.Sprint(again) != fmt.Sprint(usage) {
			t.Errorf("usage %v, want %v", again, usage)
		}
		if err := ix.Close(); err != nil {
			t.Fatal(err)
		}
		for _, suffix := range []string{"", "-wal", "-shm"} {
			os.Remove(index.Path(b.dir) + suffix)
		}
	}
}

// What holds before a torn tail is read, though it is in the batch that the tail ends.
func TestReadOfATornTail(t *testing.T) {
	b := open(t, t.TempDir())
	b.fill()
	b.caughtUp()
	want := lines(t, b.ix, index.Filter{})
	b.close()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		os.Remove(index.Path(b.dir) + suffix)
	}
	segments, _ := filepath.Glob(filepath.Join(b.dir, "*.journal"))
	last, err := os.OpenFile(segments[len(segments)-1], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := last.WriteString("half a frame that a dead machine left"); err != nil {
		t.Fatal(err)
	}
	if err := last.Close(); err != nil {
		t.Fatal(err)
	}
	ix, err := index.Read(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer ix.Close()
	if got := lines(t, ix, index.Filter{}); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestReadRefusesADirectoryInUse(t *testing.T) {
	b := open(t, t.TempDir())
	defer b.close()
	if _, err := index.Read(b.dir); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("%v", err)
	}
}

func reader(t *testing.T, dir string) *ledger.Reader {
	t.Helper()
	storage, err := durable.Disk(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := ledger.NewReader(storage, journal.Position{})
	t.Cleanup(func() { r.Close() })
	return r
}
