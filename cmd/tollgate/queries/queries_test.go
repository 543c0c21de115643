package queries_test

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/cmd/tollgate/queries"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/index"
	"github.com/tollgate/tollgate/policy"
)

var noon = time.Date(2026, 11, 14, 12, 0, 0, 0, time.UTC)

// world is a ledger of calls, an hour apart, and the admin API over it.
type world struct {
	t      *testing.T
	ledger *ledger.Ledger
	index  *index.Index
	url    string
	now    time.Time
}

func newWorld(t *testing.T, calls int) *world {
	t.Helper()
	w := &world{t: t, now: noon}
	dir := t.TempDir()
	var err error
	if w.ledger, err = ledger.Open(ledger.Config{Dir: dir, Durability: ledger.Relaxed, Now: func() time.Time { return w.now }}); err != nil {
		t.Fatal(err)
	}
	for i := range calls {
		w.call(i)
	}
	if w.index, err = index.Open(index.Path(dir), w.ledger); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.index.Run(ctx, func(err error) { t.Error(err) })
	}()
	mux := http.NewServeMux()
	(&queries.API{Index: w.index, Log: slog.New(slog.DiscardHandler)}).Register(mux)
	server := httptest.NewServer(mux)
	w.url = server.URL
	t.Cleanup(func() {
		server.Close()
		stop()
		<-done
		if err := errors.Join(w.index.Close(), w.ledger.Close()); err != nil {
			t.Error(err)
		}
	})
	return w
}

// call makes the call number i: of two teams in turn, two models and a tool.
func (w *world) call(i int) {
	w.t.Helper()
	w.now = noon.Add(time.Duration(i) * time.Hour)
	team := []string{"platform", "=cmd|' /C calc'!A0"}[i%2]
	c := &policy.Call{
		Principal: &policy.Principal{Customer: "acme", Team: team, Key: "bot", KeyID: "id-bot"},
		Action:    policy.Chat, Upstream: "openai", Target: fmt.Sprint("gpt-", i%2), Now: w.now,
	}
	if i%3 == 0 {
		c.Action, c.Upstream, c.Target = policy.ToolCall, "tracker", "search"
	}
	r, err := w.ledger.Reserve(w.t.Context(), c, nil, ledger.Hold{Cost: 10})
	if err == nil {
		err = r.Post(ledger.Outcome{Status: ledger.OK, Usage: ledger.Usage{Cost: ledger.Nano(1 + i), Quantities: ledger.Quantities{InputTokens: 5, OutputTokens: 2}}})
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) get(path string) (int, string) {
	w.t.Helper()
	resp, err := http.Get(w.url + path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestMistakesAreToldAndMended(t *testing.T) {
	w := newWorld(t, 1)
	for path, want := range map[string]string{
		"/api/v1/calls?colour=red":                "there is no parameter \\\"colour\\\" here: one of action, after",
		"/api/v1/calls?since=yesterday":           "since: \\\"yesterday\\\" is not a time: write 2h, 30d",
		"/api/v1/calls?limit=many":                "write 100, or 0 for all",
		"/api/v1/calls?limit=-1":                  "write 100, or 0 for all",
		"/api/v1/calls?id=7":                      "write a UUID",
		"/api/v1/calls?trace=7":                   "write 32 hex digits",
		"/api/v1/calls?kind=lost":                 "unknown kind of entry",
		"/api/v1/calls?order=best":                "write oldest or newest",
		"/api/v1/calls?after=x":                   "give the next of the page before",
		"/api/v1/calls?format=xml":                "write json, jsonl or csv",
		"/api/v1/calls?wait=no":                   "write false",
		"/api/v1/calls?by=team":                   "there is no parameter \\\"by\\\"",
		"/api/v1/usage?by=moon":                   "usage by \\\"moon\\\": one or more of customer, team",
		"/api/v1/usage?by=team,team":              "usage by team twice",
		"/api/v1/usage?outcome=ok":                "there is no parameter \\\"outcome\\\"",
		"/api/v1/usage?by=team&after=e30":         "is not a cursor of use by [team]",
		"/api/v1/usage?by=day&after=" + badCursor: "the cursor was changed",
		"/api/v1/entries?format=csv&after=zz":     "give the next of the page before",
	} {
		if status, body := w.get(path); status != http.StatusUnprocessableEntity || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s, want %s", path, status, body, want)
		}
	}
}

// badCursor is {"b":["day"],"v":["x"]}.
const badCursor = "eyJiIjpbImRheSJdLCJ2IjpbIngiXX0"

func TestUsage(t *testing.T) {
	w := newWorld(t, 30) // the second day begins with the thirteenth
	for query, want := range map[string]string{
		"by=team&team=platform": `{"items":[{"group":{"team":"platform"},"calls":15,"denied":0,"failed":0,"cost":225,"estimated":0,"tokens":105,"input_tokens":75,"output_tokens":30}],` +
			`"total":{"calls":15,"denied":0,"failed":0,"cost":225,"estimated":0,"tokens":105,"input_tokens":75,"output_tokens":30}}`,
		"by=day&team=platform&until=2026-11-15": `{"items":[{"group":{"day":"2026-11-14"},"calls":6,"denied":0,"failed":0,"cost":36,"estimated":0,"tokens":42,"input_tokens":30,"output_tokens":12}],` +
			`"total":{"calls":6,"denied":0,"failed":0,"cost":36,"estimated":0,"tokens":42,"input_tokens":30,"output_tokens":12},"to":"2026-11-15T00:00:00Z"}`,
		"by=month,tool&tool=tracker/*": `{"items":[{"group":{"month":"2026-11","tool":"tracker/search"},"calls":10,"denied":0,"failed":0,"cost":145,"estimated":0,"tokens":70,"input_tokens":50,"output_tokens":20}],` +
			`"total":{"calls":10,"denied":0,"failed":0,"cost":145,"estimated":0,"tokens":70,"input_tokens":50,"output_tokens":20}}`,
	} {
		if status, got := w.get("/api/v1/usage?" + query); status != http.StatusOK || strings.TrimSpace(got) != want {
			t.Errorf("%s: %d\n%s want\n%s", query, status, got, want)
		}
	}
}

// Every way of grouping adds up to the same, page by page, whatever roll-up it is read from.
func TestGroupsAddUp(t *testing.T) {
	w := newWorld(t, 60)
	for _, by := range append(index.Groups(), "team,day", "model,hour", "key,tool,month", "") {
		for _, window := range []string{"", "&since=2026-11-14T20:00:00Z&until=2026-11-16T03:00:00Z", "&since=2026-11-15&until=2026-11-16", "&since=2026-11-14T13:00:00Z&until=2026-11-14T15:00:00Z"} {
			var cost, calls, total int64
			for after, n := "", 0; ; n++ {
				status, body := w.get("/api/v1/usage?limit=3&by=" + by + window + "&after=" + after)
				var page struct {
					Items []index.Use
					Total index.Use
					Next  string
				}
				if err := json.Unmarshal([]byte(body), &page); err != nil || status != http.StatusOK || n > 100 {
					t.Fatalf("by %q: %d %s: %v", by, status, body, err)
				}
				for _, u := range page.Items {
					cost, calls = cost+int64(u.Cost), calls+u.Calls
				}
				total = int64(page.Total.Cost)
				if after = page.Next; after == "" {
					break
				}
			}
			from, to := 0, 60
			switch {
			case strings.Contains(window, "T20:00"):
				from, to = 8, 39
			case strings.Contains(window, "T13:00"):
				from, to = 1, 3
			case window != "":
				from, to = 12, 36
			}
			var want int64
			for i := from; i < to; i++ {
				want += int64(1 + i)
			}
			if cost != want || total != want || calls != int64(to-from) {
				t.Errorf("by %q%s: %d in %d calls, total %d, want %d in %d", by, window, cost, calls, total, want, to-from)
			}
		}
	}
}

func TestExportGoesOnWhereItBroke(t *testing.T) {
	w := newWorld(t, 40)
	_, whole := w.get("/api/v1/entries?format=jsonl&order=oldest")
	lines := strings.Split(strings.TrimSpace(whole), "\n")
	if len(lines) != 80 {
		t.Fatalf("%d lines", len(lines))
	}
	type line struct{ Cursor, ID string }
	read := func(text string) (l line) {
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		return l
	}
	var all []string
	for _, text := range lines {
		all = append(all, read(text).ID)
	}
	for broke := 1; broke < len(lines); broke += 7 {
		_, rest := w.get("/api/v1/entries?format=jsonl&order=oldest&after=" + read(lines[broke-1]).Cursor)
		var got []string
		for s := bufio.NewScanner(strings.NewReader(rest)); s.Scan(); {
			got = append(got, read(s.Text()).ID)
		}
		from := broke - broke%2 // an entry in mid-call: the call comes again
		if !slices.Equal(got, all[from:]) {
			t.Errorf("broken off after %d lines, the rest has %d", broke, len(got))
		}
	}
	if _, limited := w.get("/api/v1/calls?format=jsonl&limit=7"); strings.Count(limited, "\n") != 7 {
		t.Errorf("limit=7 gives %s", limited)
	}
}

func TestCSV(t *testing.T) {
	w := newWorld(t, 4)
	_, text := w.get("/api/v1/calls?format=csv&order=oldest")
	cells, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || len(cells) != 5 {
		t.Fatal(text, err)
	}
	at := func(row int, head string) string { return cells[row][slices.Index(cells[0], head)] }
	if at(1, "target") != "search" || at(2, "cost") != "2" || at(2, "team") != `'=cmd|' /C calc'!A0` || at(4, "cursor") == "" {
		t.Errorf("%v", cells)
	}
	if _, text := w.get("/api/v1/usage?by=team&format=csv"); !strings.HasPrefix(text, "team,calls,denied,failed,tokens,input_tokens,output_tokens,cost,estimated,cursor\n") {
		t.Error(text)
	}
}

// A database that does not answer is no reason to say anything but so.
func TestWithoutTheIndexAQueryIsRefused(t *testing.T) {
	w := newWorld(t, 1)
	if status, body := w.get("/api/v1/calls"); status != http.StatusOK {
		t.Fatal(status, body)
	}
	gone := newWorld(t, 1)
	if err := gone.index.Close(); err != nil {
		t.Fatal(err)
	}
	if status, body := gone.get("/api/v1/calls?wait=false"); status != http.StatusServiceUnavailable || !strings.Contains(body, "nothing is lost") {
		t.Error(status, body)
	}
}

func TestIndexSaysHowFarItIs(t *testing.T) {
	w := newWorld(t, 1)
	w.get("/api/v1/calls")
	status, body := w.get("/api/v1/index")
	var answer struct{ Feeds []index.Feed }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK || len(answer.Feeds) != 1 || answer.Feeds[0].Through.IsZero() {
		t.Error(status, body)
	}
}

// asker asks the world's API as a command does.
type asker struct{ w *world }

func (a asker) Get(_ context.Context, path string, answer any) error {
	status, body := a.w.get(path)
	if status != http.StatusOK {
		return errors.New(body)
	}
	return json.Unmarshal([]byte(body), answer)
}

func (a asker) Stream(context.Context, string) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(`{"id":"019371b0-0000-7000-8000-000000000001","time":"2026-11-14T12:00:00Z","kind":"denied","target":"a\u001bb"}` + "\n")), nil
}
func (a asker) Running() bool { return true }
func (a asker) Close() error  { return nil }

func (w *world) run(format string, args ...string) (stdout, stderr string) {
	w.t.Helper()
	open := func(context.Context) (queries.Asker, error) { return asker{w}, nil }
	c := queries.QueryCommand(open, &format)
	switch args[0] {
	case "usage":
		c = queries.UsageCommand(open, &format)
	case "tail":
		c = queries.TailCommand(open, &format)
	}
	var out, errs strings.Builder
	c.SetArgs(args[1:])
	c.SetOut(&out)
	c.SetErr(&errs)
	if err := c.ExecuteContext(w.t.Context()); err != nil && args[0] != "tail" {
		w.t.Error(err)
	}
	return out.String(), errs.String()
}

func TestCommands(t *testing.T) {
	w := newWorld(t, 1200)
	out, more := w.run("csv", "query", "--limit", "1100", "--oldest-first")
	if n := strings.Count(out, "\n"); n != 1101 || !strings.HasPrefix(more, "there is more: --after ") {
		t.Errorf("%d lines; %s", n, more)
	}
	rest, more := w.run("csv", "query", "--limit", "0", "--oldest-first", "--after", strings.TrimSpace(strings.TrimPrefix(more, "there is more: --after ")))
	if n := strings.Count(rest, "\n"); n != 101 || more != "" {
		t.Errorf("the rest has %d lines; %s", n, more)
	}
	if all, _ := w.run("csv", "query", "--limit", "0", "--oldest-first"); all != out+rest[strings.Index(rest, "\n")+1:] {
		t.Error("the two parts are not the whole")
	}
	if out, _ := w.run("table", "usage", "--by", "team,month", "--server", "tracker"); out != usageTable {
		t.Errorf("got\n%s\nwant\n%s", out, usageTable)
	}
	var groups []struct{ Group map[string]string }
	if out, _ := w.run("json", "usage", "--by", "hour"); json.Unmarshal([]byte(out), &groups) != nil || len(groups) != 1200 || groups[0].Group["hour"] != "2026-11-14T12:00:00Z" {
		t.Errorf("%d groups", len(groups))
	}
	if out, _ := w.run("table", "tail"); !strings.Contains(out, "denied") || strings.Contains(out, "\x1b") {
		t.Errorf("%q", out)
	}
}

const usageTable = `TEAM                MONTH    CALLS  DENIED  FAILED  TOKENS  INPUT_TOKENS  OUTPUT_TOKENS  COST             ESTIMATED
=cmd|' /C calc'!A0  2026-11  66     0       0       462     330           132            0.000013134 USD  0.00 USD
=cmd|' /C calc'!A0  2026-12  124    0       0       868     620           248            0.000095356 USD  0.00 USD
=cmd|' /C calc'!A0  2027-01  10     0       0       70      50            20             0.00001171 USD   0.00 USD
platform            2026-11  66     0       0       462     330           132            0.000012936 USD  0.00 USD
platform            2026-12  124    0       0       868     620           248            0.000094984 USD  0.00 USD
platform            2027-01  10     0       0       70      50            20             0.00001168 USD   0.00 USD

total: 400 calls, 0 denied, 0 failed, 2800 tokens, 0.0002398 USD
`

func FuzzParameters(f *testing.F) {
	f.Add("since=2h&limit=3&after=AQIC&format=csv")
	f.Add("by=team,day&after=eyJiIjpbImRheSJdLCJ2IjpbIngiXX0")
	f.Add("id=019371b0-0000-7000-8000-000000000001&trace=4bf92f3577b34da6a3ce929d0e0e4736&kind=denied&order=oldest")
	dir := f.TempDir()
	l, err := ledger.Open(ledger.Config{Dir: dir})
	if err != nil {
		f.Fatal(err)
	}
	ix, err := index.Open(index.Path(dir), l)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = errors.Join(ix.Close(), l.Close()) })
	mux := http.NewServeMux()
	(&queries.API{Index: ix, Log: slog.New(slog.DiscardHandler)}).Register(mux)
	f.Fuzz(func(t *testing.T, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		q.Set("wait", "false")
		for _, path := range []string{"/api/v1/calls?", "/api/v1/usage?"} {
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest("GET", path+q.Encode(), nil))
			if w.Code != http.StatusOK && w.Code != http.StatusUnprocessableEntity {
				t.Errorf("%s%s: %d %s", path, q.Encode(), w.Code, w.Body)
			}
		}
	})
}
