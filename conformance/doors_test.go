package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/internal/durabletest"
	"github.com/tollgate/tollgate/internal/mcptest"
	"github.com/tollgate/tollgate/ledger"
)

// verdict is what came of a request, the same word at every door.
type verdict string

const (
	answered     verdict = "answered"
	denied       verdict = "denied by a rule"
	overBudget   verdict = "over budget"
	overRate     verdict = "over rate"
	unknown      verdict = "hidden or unknown"
	unrecorded   verdict = "cannot be recorded"
	unauthorized verdict = "no valid key"
)

// door is a way into the gateway: it asks for a thing with a key and tells what came of it and the answer's text.
type door struct {
	name   string
	thing  string // what can be asked for, as policy names it
	other  string // what does not exist, of the same length
	action string // of its ledger lines
	cost   int64  // nano-USD
	ask    func(t *testing.T, w *world, key, thing string) (verdict, string)
}

// doors are all of them. The fake model counts 10 tokens in and 2 out.
var doors = []door{
	{"tools, 2026-07-28", "tools/echo", "tools/ohce", "tool.call", toolPrice, modernTool},
	{"tools, 2025-11-25", "tools/echo", "tools/ohce", "tool.call", toolPrice, legacyTool},
	{"chat", "models/fake", "nobody/fake", "llm.chat", 10*inputPrice + 2*outputPrice, model("/v1/chat/completions", `"max_completion_tokens":9,"messages":[{"role":"user","content":"hi"}]`)},
	{"chat, streamed", "models/fake", "nobody/fake", "llm.chat", 10*inputPrice + 2*outputPrice, model("/v1/chat/completions", `"max_completion_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]`)},
	{"responses", "models/fake", "nobody/fake", "llm.responses", 10*inputPrice + 2*outputPrice, model("/v1/responses", `"max_output_tokens":9,"input":"hi"`)},
	{"responses, streamed", "models/fake", "nobody/fake", "llm.responses", 10*inputPrice + 2*outputPrice, model("/v1/responses", `"max_output_tokens":9,"stream":true,"input":"hi"`)},
	{"messages", "models/fake", "nobody/fake", "llm.messages", 10*inputPrice + 2*outputPrice, model("/v1/messages", `"max_tokens":9,"messages":[{"role":"user","content":"hi"}]`)},
	{"messages, streamed", "models/fake", "nobody/fake", "llm.messages", 10*inputPrice + 2*outputPrice, model("/v1/messages", `"max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]`)},
	{"embeddings", "models/fake", "nobody/fake", "llm.embeddings", 10 * inputPrice, model("/v1/embeddings", `"input":"a text that is longer than the ten tokens the fake counts, so that the hold suffices"`)},
}

// doorCases are taken through every door. reaches is how many calls reach the fake behind; lines is what the ledger has
// of it, with ACTION, TARGET and COST for the door's.
var doorCases = []struct {
	name    string
	key     string
	missing bool // ask for what does not exist
	want    verdict
	reaches int
	lines   []string
}{
	{"allowed", free, false, answered, 1, []string{"reserved ACTION TARGET all", "posted ok cost COST"}},
	{"denied", barred, false, denied, 0, []string{"denied ACTION TARGET not-barred"}},
	{"within the rate", slow, false, answered, 1, []string{"reserved ACTION TARGET all", "posted ok cost COST"}},
	{"over the rate", slow, false, overRate, 0, []string{"denied ACTION TARGET"}},
	{"over the budget for ever", broke, false, overBudget, 0, []string{"denied ACTION TARGET"}},
	{"hidden", blind, false, unknown, 0, []string{"denied ACTION"}},
	{"unknown", free, true, unknown, 0, []string{"denied ACTION"}},
	{"no such key", "nobody", false, unauthorized, 0, []string{"denied ACTION"}},
	{"allowed again", free, false, answered, 1, []string{"reserved ACTION TARGET all", "posted ok cost COST"}},
}

func TestEveryDoorIsTheSameDoor(t *testing.T) {
	for _, d := range doors {
		t.Run(d.name, func(t *testing.T) {
			w := newWorld(t, ledger.Overlap)
			texts := map[string]string{}
			for _, c := range doorCases {
				thing := d.thing
				if c.missing {
					thing = d.other
				}
				before := w.reached()
				got, text := d.ask(t, w, c.key, thing)
				texts[c.name] = strings.NewReplacer(thing, "THING", wireName(thing), "THING").Replace(text)
				if got != c.want {
					t.Errorf("%s: %s, want %s: %s", c.name, got, c.want, text)
				}
				if n := w.reached() - before; n != c.reaches {
					t.Errorf("%s: %d calls reached the other side, want %d", c.name, n, c.reaches)
				}
				wantLines(t, w, &d, c.name, c.lines)
			}
			if texts["hidden"] != texts["unknown"] {
				t.Errorf("what is hidden and what is unknown differ:\n%s\n%s", texts["hidden"], texts["unknown"])
			}
			if _, err := w.ledger.Check(t.Context()); err != nil {
				t.Errorf("the ledger does not add up: %v", err)
			}
		})
	}
}

// wantLines compares the new entries with the case's; each must begin as the case says.
func wantLines(t *testing.T, w *world, d *door, name string, want []string) {
	t.Helper()
	got := w.lines(t)
	fill := strings.NewReplacer("ACTION", d.action, "TARGET", strings.ReplaceAll(d.thing, "/", " "), "COST", fmt.Sprint(d.cost))
	if !slices.EqualFunc(got, want, func(got, want string) bool { return strings.HasPrefix(got, fill.Replace(want)) }) {
		t.Errorf("%s: the ledger has %q, want %q", name, got, want)
	}
}

// spentAfterMax is more calls than a budget of poor's can pay at any door.
const spentAfterMax = 20

// A key calls until its budget refuses: what was posted stays within it, the refusal says when to retry, and nothing
// reaches the other side after it.
func TestABudgetEnds(t *testing.T) {
	for _, d := range doors {
		t.Run(d.name, func(t *testing.T) {
			w := newWorld(t, ledger.Overlap)
			got, text := answered, ""
			for n := 0; got == answered && n < spentAfterMax; n++ {
				got, text = d.ask(t, w, poor, d.thing)
			}
			if got != overBudget || !strings.Contains(text, "retry after") {
				t.Errorf("%s: %s", got, text)
			}
			reached := w.reached()
			if got, _ := d.ask(t, w, poor, d.thing); got != overBudget || w.reached() != reached || reached == 0 {
				t.Errorf("after the end: %s, %d calls reached the other side of %d", got, w.reached(), reached)
			}
			for _, b := range w.ledger.Balances() {
				if b.Limit.Text == doorLimits[poor] && (b.Used != int64(reached)*d.cost || b.Held != 0 || b.Left < 0) {
					t.Errorf("%d calls at %d have used %d, hold %d, leave %d", reached, d.cost, b.Used, b.Held, b.Left)
				}
			}
		})
	}
}

// When an entry cannot be written the call is not made, whether the write was lost or, unknown to us, kept; when it was
// written and cannot be made durable, either the call is not made (strict) or its answer is kept back (overlap).
func TestNoEntryNoCall(t *testing.T) {
	breakages := []struct {
		name       string
		durability ledger.Durability
		op         durabletest.Op
		fault      durabletest.Fault
		reaches    int
	}{
		{"a write is lost", ledger.Overlap, durabletest.Write, durabletest.Lost, 0},
		{"a write is torn", ledger.Overlap, durabletest.Write, durabletest.Half, 0},
		{"a write fails and is kept", ledger.Overlap, durabletest.Write, durabletest.Kept, 0},
		{"a sync is lost, strict", ledger.Strict, durabletest.Sync, durabletest.Lost, 0},
		{"a sync is lost, overlap", ledger.Overlap, durabletest.Sync, durabletest.Lost, 1},
	}
	for _, d := range doors {
		for _, b := range breakages {
			t.Run(d.name+"/"+b.name, func(t *testing.T) {
				w := newWorld(t, b.durability)
				if got, text := d.ask(t, w, free, d.thing); got != answered {
					t.Fatalf("before: %s %s", got, text)
				}
				before := w.reached()
				w.disk.Break(func(op durabletest.Op, _ string) durabletest.Fault {
					if op == b.op {
						return b.fault
					}
					return durabletest.None
				})
				got, text := d.ask(t, w, free, d.thing)
				if got != unrecorded {
					t.Errorf("%s, want %s: %s", got, unrecorded, text)
				}
				if n := w.reached() - before; n > b.reaches {
					t.Errorf("%d calls reached the other side, want at most %d", n, b.reaches)
				}
				again(t, w)
			})
		}
	}
}

// again opens the ledger as the next process finds it and checks that it adds up, nothing left open.
func again(t *testing.T, w *world) {
	t.Helper()
	l, err := ledger.Open(ledger.Config{Storage: w.disk.Kill()})
	must(t, err)
	defer l.Close()
	report, err := l.Check(t.Context())
	if err != nil || report.Open != 0 || report.Calls == 0 {
		t.Errorf("after a restart: %+v, %v", report, err)
	}
}

// send posts body and returns status and text of the answer.
func send(t *testing.T, w *world, path, key, body string, headers ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+path, strings.NewReader(body))
	must(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("Authorization", "Bearer "+secretOf(key))
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		text = append(text, "\ncut: "+err.Error()...)
	}
	return resp.StatusCode, resp.Header, string(text)
}

// byStatus is what a status means at the doors of models.
var byStatus = map[int]verdict{
	http.StatusOK: answered, http.StatusForbidden: denied, http.StatusPaymentRequired: overBudget, http.StatusTooManyRequests: overRate,
	http.StatusNotFound: unknown, http.StatusUnauthorized: unauthorized, http.StatusServiceUnavailable: unrecorded,
}

// model is the door of one dialect.
func model(path, members string) func(*testing.T, *world, string, string) (verdict, string) {
	return func(t *testing.T, w *world, key, thing string) (verdict, string) {
		t.Helper()
		status, header, text := send(t, w, path, key, fmt.Sprintf(`{"model":%q,%s}`, thing, members))
		limited := status == http.StatusPaymentRequired || status == http.StatusTooManyRequests
		if never := strings.Contains(text, "never fit"); limited && never == (header.Get("Retry-After") != "") {
			t.Errorf("%d with Retry-After %q: %s", status, header.Get("Retry-After"), text)
		}
		if v, ok := byStatus[status]; ok {
			return v, text
		}
		return verdict(fmt.Sprintf("status %d", status)), text
	}
}

// wireName is the name that clients see of a tool.
func wireName(tool string) string { return strings.Replace(tool, "/", "__", 1) }

func modernTool(t *testing.T, w *world, key, thing string) (verdict, string) {
	t.Helper()
	headers := func(method, name string) []string {
		return []string{"MCP-Protocol-Version", mcptest.Modern, "Mcp-Method", method, "Mcp-Name", name}
	}
	const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`
	name := wireName(thing)
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":{"text":"hi"},%s}}`, name, meta)
	listed := fmt.Sprintf(`{"jsonrpc":"2.0","id":0,"method":"tools/list","params":{%s}}`, meta)
	send(t, w, "/mcp", key, listed, headers("tools/list", "")[:4]...) // waits until the server has been asked for its tools
	status, _, text := send(t, w, "/mcp", key, body, headers("tools/call", name)...)
	return toolVerdict(status, text), text
}

func legacyTool(t *testing.T, w *world, key, thing string) (verdict, string) {
	t.Helper()
	const initialize = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"doors","version":"1"}}}`
	status, header, text := send(t, w, "/mcp", key, initialize)
	if status != http.StatusOK {
		return toolVerdict(status, text), text
	}
	session := []string{"MCP-Protocol-Version", mcptest.Legacy, "Mcp-Session-Id", header.Get("Mcp-Session-Id")}
	send(t, w, "/mcp", key, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, session...)
	send(t, w, "/mcp", key, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, session...)
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":%q,"arguments":{"text":"hi"}}}`, wireName(thing))
	status, _, text = send(t, w, "/mcp", key, body, session...)
	return toolVerdict(status, text), text
}

// toolVerdict reads the answer to a tools/call, which may have come as an event.
func toolVerdict(status int, text string) verdict {
	if status == http.StatusUnauthorized {
		return unauthorized
	}
	if _, data, ok := strings.Cut(text, "data: "); ok {
		text, _, _ = strings.Cut(data, "\n")
	}
	var answer struct {
		Error *struct {
			Code int
			Data struct{ Tollgate struct{ Kind string } }
		}
		Result struct {
			IsError bool
			Meta    struct {
				Tollgate struct{ Limit string }
			} `json:"_meta"`
		}
	}
	if err := json.NewDecoder(bytes.NewReader([]byte(text))).Decode(&answer); err != nil {
		return verdict(fmt.Sprintf("status %d, no JSON", status))
	}
	told := answer.Result.Meta.Tollgate
	switch {
	case answer.Error != nil && answer.Error.Code == -32602:
		return unknown
	case answer.Error != nil && answer.Error.Data.Tollgate.Kind == "ledger":
		return unrecorded
	case answer.Error != nil:
		return verdict(fmt.Sprintf("error %d", answer.Error.Code))
	case !answer.Result.IsError:
		return answered
	case strings.Contains(told.Limit, "USD"):
		return overBudget
	case told.Limit != "":
		return overRate
	}
	return denied
}
