package conformance

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/conformance/dialogue"
)

// answers are what the client of the recorded session answers with.
var answers = map[string]string{
	"elicitation/create":     `{"action":"accept","content":{"name":"Bo"},"unknownOfAnswer":9007199254740993}`,
	"sampling/createMessage": `{"role":"assistant","content":{"type":"text","text":"Paris","unknownOfItem":1.50},"model":"m","stopReason":"endTurn"}`,
	"roots/list":             `{"roots":[{"uri":"file:///home","name":"home","unknownOfRoot":null}]}`,
}

// declared are the capabilities that the client declares.
const declared = `{"elicitation":{"form":{},"url":{}},"sampling":{"tools":{}},"roots":{}}`

// spoken is one request of the recorded session.
type spoken struct {
	name           string
	method, params string
	token          string // a progress token; empty: none
	level          string // modern: the level of log messages
}

// session is what the client says, in order. %s stands for the part of a call that only an argument fills.
func recorded(modern bool) []spoken {
	call := func(tool, args string) spoken {
		return spoken{name: tool, method: "tools/call", params: fmt.Sprintf(`{"name":%q,"arguments":%s}`, tool, args)}
	}
	all := []spoken{
		call("echo", `{"text":"é","n":9007199254740993,"f":1.50,"deep":[{"a":null}],"escaped":"\u00e9\/"}`),
		call("shapes", `{}`), call("list", `{}`), call("region", `{"region":"eu","zone":7,"dry":true,"free":"x"}`),
		call("fail", `{}`), call("error", `{}`), call("test_sampling", `{"prompt":"capital?"}`), call("test_elicitation", `{"message":"who?"}`),
		call("ask_form", `{}`), call("ask_url", `{}`), call("ask_sampling", `{}`), call("ask_sampling_tools", `{}`), call("ask_roots", `{}`),
		call("ask_many", `{}`), call("ask_twice", `{}`),
		{name: "read", method: "resources/read", params: `{"uri":"test://note"}`},
		{name: "read a blob", method: "resources/read", params: `{"uri":"test://blob"}`},
		{name: "read an app", method: "resources/read", params: `{"uri":"ui://fixture/app"}`},
		{name: "read by template", method: "resources/read", params: `{"uri":"test://items/5"}`},
		{name: "read what is not there", method: "resources/read", params: `{"uri":"test://missing"}`},
		{name: "prompt", method: "prompts/get", params: `{"name":"greet","arguments":{"who":"Bo"}}`},
		{name: "prompt that asks", method: "prompts/get", params: `{"name":"ask"}`},
		{name: "complete a prompt", method: "completion/complete", params: `{"ref":{"type":"ref/prompt","name":"greet"},"argument":{"name":"who","value":"p"}}`},
		{name: "complete a template", method: "completion/complete", params: `{"ref":{"type":"ref/resource","uri":"test://items/{id}"},"argument":{"name":"id","value":"1"}}`},
		{name: "progress", method: "tools/call", params: `{"name":"progress","arguments":{"steps":5}}`, token: "of-the-client"},
		{name: "no progress", method: "tools/call", params: `{"name":"progress"}`},
		{name: "no such method", method: "no/such", params: `{}`},
		{name: "no such tool", method: "tools/call", params: `{"name":"no_such_tool"}`},
		{name: "no such cursor", method: "tools/list", params: `{"cursor":"x"}`},
	}
	if !modern {
		all = append(all, spoken{name: "ping", method: "ping", params: `{}`}, spoken{name: "set level", method: "logging/setLevel", params: `{"level":"warning"}`})
	}
	return append(all, spoken{name: "log", method: "tools/call", params: `{"name":"log"}`, level: "warning"})
}

// stepMax bounds one request of the recorded session.
const stepMax = 20 * time.Second

// speak has a client say the recorded session to url and returns what came of each step by its name.
func speak(t *testing.T, url string, modern bool) map[string]*dialogue.Exchange {
	t.Helper()
	c := &dialogue.Client{URL: url, Modern: modern, Capabilities: declared, Answers: answers}
	out := map[string]*dialogue.Exchange{}
	step := func(name string, do func(context.Context) (*dialogue.Exchange, error)) {
		ctx, cancel := context.WithTimeout(t.Context(), stepMax)
		defer cancel()
		x, err := do(ctx)
		if err != nil {
			x = &dialogue.Exchange{Response: json.RawMessage(fmt.Sprintf("%q", err))}
		}
		out[name] = x
	}
	step("open", c.Open)
	for _, list := range []string{"tools", "resources", "resources/templates", "prompts"} {
		step("list "+list, func(ctx context.Context) (*dialogue.Exchange, error) { return whole(ctx, c, list+"/list") })
	}
	for _, s := range recorded(modern) {
		c.Level = s.level
		step(s.name, func(ctx context.Context) (*dialogue.Exchange, error) {
			return c.DoAs(ctx, c.ID(), s.method, s.params, s.token)
		})
	}
	c.Level = ""
	if !strings.HasSuffix(url, "/child") {
		// A caller's own child tells of itself only, and the lists are those of the child that all share.
		step("changes", func(ctx context.Context) (*dialogue.Exchange, error) { return changes(ctx, c) })
	}
	step("cancel", func(ctx context.Context) (*dialogue.Exchange, error) { return cancelled(ctx, c) })
	return out
}

// whole reads all pages of a list into one response: the items by their name or URI.
func whole(ctx context.Context, c *dialogue.Client, method string) (*dialogue.Exchange, error) {
	items := map[string]json.RawMessage{}
	cursor, status := "", 0
	for {
		params := `{}`
		if cursor != "" {
			params = fmt.Sprintf(`{"cursor":%q}`, cursor)
		}
		x, err := c.Do(ctx, method, params)
		if err != nil {
			return nil, err
		}
		var page struct{ Result map[string]json.RawMessage }
		if err := json.Unmarshal(x.Response, &page); err != nil || page.Result == nil {
			return x, err
		}
		cursor, status = "", x.Status
		for name, value := range page.Result {
			switch name {
			case "nextCursor":
				err = json.Unmarshal(value, &cursor)
			case "tools", "resources", "resourceTemplates", "prompts":
				var some []json.RawMessage
				err = json.Unmarshal(value, &some)
				for _, item := range some {
					var is struct{ Name, URI string }
					err = errors.Join(err, json.Unmarshal(item, &is))
					items[cmp.Or(is.URI, is.Name)] = item
				}
			}
			if err != nil {
				return nil, err
			}
		}
		if cursor == "" {
			all, err := json.Marshal(items)
			return &dialogue.Exchange{Status: status, Response: all}, err
		}
	}
}

// changes changes all lists and a resource, changes the lists back, and returns what the standing stream tells of that.
func changes(ctx context.Context, c *dialogue.Client) (*dialogue.Exchange, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	heard, err := c.Listen(ctx, "test://note")
	if err != nil {
		return nil, err
	}
	x := &dialogue.Exchange{}
	wait := func() error {
		select {
		case m, ok := <-heard:
			if !ok {
				return fmt.Errorf("the standing stream ended after %s", x.Notifications)
			}
			x.Notifications = append(x.Notifications, m)
			return nil
		case <-ctx.Done():
			return fmt.Errorf("nothing more was told of after %s", x.Notifications)
		}
	}
	if c.Modern {
		err = wait() // it begins with what was acknowledged
	} else {
		_, err = c.Do(ctx, "resources/subscribe", `{"uri":"test://note"}`)
	}
	lists := []string{"tools", "prompts", "resources"}
	for _, list := range slices.Concat(lists, lists) {
		if err == nil {
			_, err = c.Do(ctx, "tools/call", fmt.Sprintf(`{"name":"change","arguments":{"list":%q}}`, list))
		}
		if err == nil {
			err = wait()
		}
	}
	if err == nil {
		_, err = c.Do(ctx, "tools/call", `{"name":"touch","arguments":{"uri":"test://note"}}`)
	}
	if err == nil {
		err = wait()
	}
	return x, err
}

// cancelled begins a call that waits, cancels it as its era does and returns the server's count of calls that wait.
func cancelled(ctx context.Context, c *dialogue.Client) (*dialogue.Exchange, error) {
	call, cancel := context.WithCancel(ctx)
	defer cancel()
	id, done := c.ID(), make(chan error, 1)
	go func() {
		_, err := c.DoAs(call, id, "tools/call", `{"name":"slow"}`, "")
		done <- err
	}()
	if err := untilWaiting(ctx, c, 1); err != nil {
		return nil, err
	}
	if c.Modern {
		cancel()
	} else if err := c.Tell(ctx, "notifications/cancelled", fmt.Sprintf(`{"requestId":%d,"reason":"enough"}`, id)); err != nil {
		return nil, err
	}
	if err := untilWaiting(ctx, c, 0); err != nil {
		return nil, err
	}
	cancel()
	<-done
	return &dialogue.Exchange{}, nil
}

// untilWaiting waits until the fixture has that many calls waiting.
func untilWaiting(ctx context.Context, c *dialogue.Client, n int) error {
	want := fmt.Sprintf("%d waiting", n)
	for {
		x, err := c.Do(ctx, "tools/call", `{"name":"waiting"}`)
		if err != nil {
			return fmt.Errorf("not %s: %w", want, err)
		}
		if strings.Contains(string(x.Response), want) {
			return nil
		}
	}
}

// difference is one that a gateway has to make, or may.
type difference struct {
	client, server string // eras; empty: both
	step, path     string // patterns
	why            string
}

// TestNothingIsLost compares the recorded session with a server and through the gateway. When the server is of the other
// era, it is compared with the same server of the client's era: it says the same as far as its era can; a child is a legacy
// server. Every difference must be one of those that are named.
func TestNothingIsLost(t *testing.T) {
	withPeers(t)
	g, at := overFixtures(t)
	for _, client := range []string{"legacy", "modern"} {
		direct := speak(t, at[client], client == "modern")
		for _, server := range []string{"legacy", "modern", "child"} {
			t.Run(client+"-"+server, func(t *testing.T) {
				through := speak(t, g.URL()+"/mcp/"+server, client == "modern")
				names := differences(client, strings.Replace(server, "child", "legacy", 1))
				used := map[string]bool{}
				for step, x := range direct {
					if through[step] == nil && server == "child" {
						continue
					}
					for _, d := range dialogue.Compare(x, through[step]) {
						i := slices.IndexFunc(names, func(n difference) bool {
							return dialogue.Matches(n.step, step) && dialogue.Matches(n.path, d.Path)
						})
						if i < 0 {
							t.Errorf("%s: %s", step, d)
							continue
						}
						used[names[i].step+names[i].path] = true
					}
				}
				for _, n := range names {
					if !used[n.step+n.path] {
						t.Errorf("nothing differs in %s at %s: take it from the list", n.step, n.path)
					}
				}
			})
		}
	}
}

// differences are those that are named for a cell.
func differences(client, server string) []difference {
	all := []difference{
		{"modern", "", "*", "response.result._meta.io.modelcontextprotocol/serverInfo.*", "the client's server is the gateway"},
		{"legacy", "", "open", "response.result.serverInfo.*", "the client's server is the gateway"},
		{"", "", "no such method", "response.error.*", "the gateway refuses it itself"},
		{"", "", "no such tool", "response.error.*", "hidden and unknown tools are refused alike, so by the gateway"},
		{"", "", "no such cursor", "response.error.*", "cursors are the gateway's own"},
		{"legacy", "modern", "read what is not there", "response.error.code", "-32002 became -32602 with 2026-07-28, and clients know both"},
		{"legacy", "modern", "ask_url", "questions[0].params.elicitationId", "2026-07-28 has none, so the gateway makes one"},
		{"legacy", "", "ask_twice", "notifications[*", "a client that sets no level leaves it to its server, which is the gateway, what to log"},
		{"modern", "legacy", "open", "response.result.capabilities.extensions.io.modelcontextprotocol/tasks", "the extension came with 2026-07-28"},
		{"modern", "legacy", "list", "response.result.structuredContent[*]", "a legacy server cannot send what is no object"},
		{"modern", "legacy", "list tools", "response.list.outputSchema.*", "a legacy server cannot declare what is no object"},
	}
	return slices.DeleteFunc(all, func(d difference) bool {
		return d.client != "" && d.client != client || d.server != "" && d.server != server
	})
}
