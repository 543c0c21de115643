package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/conformance/launch"
	"github.com/tollgate/tollgate/conformance/peers"
)

// client is a real client library, in one era and over one transport.
type client struct {
	name   string
	runner runner
	script string
	era    string // as the script is told it
	path   string // of the gateway's endpoint
	spawns bool   // it spawns tollgate stdio instead
}

// forgets reports whether the client drops a call as soon as its answer arrives, and with it the progress that arrived in
// the same read and that it has not handled yet: those in JavaScript do.
func (c *client) forgets() bool { return strings.HasSuffix(c.script, ".mjs") }

// clients are the libraries that agents are made with.
func clients(n *peers.Node, p *peers.Python) []client {
	return []client{
		{"js 2 legacy", n, "mcp.mjs", "legacy", "/mcp", false},
		{"js 2 modern", n, "mcp.mjs", "2026-07-28", "/mcp", false},
		{"js 2 legacy stdio", n, "mcp.mjs", "legacy", "", true},
		{"js 2 modern stdio", n, "mcp.mjs", "2026-07-28", "", true},
		{"js 1 legacy", n, "v1.mjs", "legacy", "/mcp", false},
		{"js 1 sse", n, "v1.mjs", "sse", "/sse", false}, // the old transport, but 2025-11-25 on it
		{"python legacy", p, "tools.py", "legacy", "/mcp", false},
		{"python modern", p, "tools.py", "2026-07-28", "/mcp", false},
	}
}

// realServers is a gateway over the servers that people run: three of the protocol's own, one of FastMCP in both eras, one
// with an app. docs is what the file server serves.
func realServers(t *testing.T, n *peers.Node, p *peers.Python) (g *launch.Gateway, docs string) {
	t.Helper()
	docs = t.TempDir()
	yaml := fmt.Sprintf(`
servers:
  everything: {command: %s, trusted: true}
  files:      {command: %s, trusted: true}
  memory:     {command: %s, trusted: true, env: {MEMORY_FILE_PATH: %q}}
  fast:       {command: %s, trusted: true, era: modern}
  past:       {command: %s, trusted: true, era: legacy}
  apps:       {command: %s, trusted: true}
keys:
  full: {secret: env:FULL}
`, argv(n.Server("@modelcontextprotocol/server-everything", "stdio")), argv(n.Server("@modelcontextprotocol/server-filesystem", docs)),
		argv(n.Server("@modelcontextprotocol/server-memory")), filepath.Join(t.TempDir(), "memory.jsonl"),
		argv(p.Script("fast.py")), argv(p.Script("fast.py")), argv(n.Server("@modelcontextprotocol/server-basic-vanillajs", "--stdio")))
	g = gateway(t, yaml, allRules, "FULL="+secretOf("full"))
	if err := g.Connected(t.Context()); err != nil {
		t.Fatal(err)
	}
	return g, docs
}

// use is one thing that every client does, and what must be in the outcome.
type use struct {
	step  step
	wants []string
	told  int  // progress that must be told at least
	asks  bool // the server asks in the middle of it
}

// uses are of every server and of every kind.
func uses(docs string) []use {
	return []use{
		{step: step{"do": "tools"}, wants: []string{"everything__echo", "files__read_text_file", "memory__read_graph", "fast__add", "apps__get-time", `"resourceUri":"ui://get-time/mcp-app.html"`}},
		{step: step{"do": "resources"}, wants: []string{"fast://note", "ui://get-time/mcp-app.html", "text/html;profile=mcp-app"}},
		{step: step{"do": "prompts"}, wants: []string{"fast__greet", "everything__simple-prompt"}},
		{step: step{"do": "call", "name": "everything__echo", "args": step{"message": "pay the toll"}}, wants: []string{"pay the toll"}},
		{step: step{"do": "call", "name": "everything__get-structured-content", "args": step{"location": "New York"}}, wants: []string{"structuredContent", "temperature"}},
		{step: step{"do": "call", "name": "everything__get-tiny-image"}, wants: []string{"image/png"}},
		{step: step{"do": "call", "name": "everything__trigger-long-running-operation", "args": step{"duration": 0.3, "steps": 3}, "watch": true}, wants: []string{"completed"}, told: 3},
		{step: step{"do": "call", "name": "files__write_file", "args": step{"path": filepath.Join(docs, "toll.txt"), "content": "one ducat"}}, wants: []string{"toll.txt"}},
		{step: step{"do": "call", "name": "files__read_text_file", "args": step{"path": filepath.Join(docs, "toll.txt")}}, wants: []string{"one ducat"}},
		{step: step{"do": "call", "name": "memory__read_graph"}, wants: []string{"entities"}},
		{step: step{"do": "call", "name": "fast__add", "args": step{"a": 20, "b": 22}}, wants: []string{"42"}},
		{step: step{"do": "call", "name": "fast__count", "args": step{"n": 4}, "watch": true}, wants: []string{"counted to 4"}, told: 4},
		{step: step{"do": "call", "name": "fast__ask_first"}, wants: []string{"accept Anna"}, asks: true},
		{step: step{"do": "call", "name": "past__ask"}, wants: []string{"accept Anna"}, asks: true},
		{step: step{"do": "read", "uri": "fast://note"}, wants: []string{"a note of fast"}},
		{step: step{"do": "prompt", "name": "fast__greet", "args": step{"who": "Bo"}}, wants: []string{"greet Bo"}},
		{step: step{"do": "call", "name": "apps__get-time"}, wants: []string{"T"}},
		{step: step{"do": "read", "uri": "ui://get-time/mcp-app.html"}, wants: []string{"text/html;profile=mcp-app", "<!DOCTYPE html>"}},
	}
}

// TestRealClientsUseRealServers has every client use every server through one endpoint.
func TestRealClientsUseRealServers(t *testing.T) {
	withPeers(t)
	n, p := node(t), python(t)
	g, docs := realServers(t, n, p)
	for _, c := range clients(n, p) {
		t.Run(c.name, func(t *testing.T) {
			all := uses(docs)
			var steps []step
			for _, u := range all {
				steps = append(steps, u.step)
			}
			j := job{URL: g.URL() + c.path, Key: secretOf("full"), Era: c.era, Steps: steps}
			if c.spawns {
				j.Command = g.Stdio()
			}
			out := run(t, c.runner, c.script, j)
			for i, u := range all {
				if c.forgets() {
					u.told = min(u.told, 1)
				}
				judgeUse(t, u, &out[i])
			}
		})
	}
	t.Run("inspector", func(t *testing.T) { inspect(t, n, g, docs) })
}

func judgeUse(t *testing.T, u use, o *outcome) {
	t.Helper()
	var got bytes.Buffer
	if err := json.Compact(&got, o.OK); err != nil && o.Error == nil {
		t.Error(err)
	}
	for _, want := range u.wants {
		if o.Error != nil || !strings.Contains(got.String(), want) {
			t.Errorf("%v: no %q in %.600s", u.step, want, o)
		}
	}
	if o.Progress < u.told {
		t.Errorf("%v: told of progress %d times, not %d", u.step, o.Progress, u.told)
	}
	if u.asks != (o.Asked > 0) {
		t.Errorf("%v: asked %d times", u.step, o.Asked)
	}
}

// inspect has the command line of the Inspector use the servers, in both eras, one process for each use.
func inspect(t *testing.T, n *peers.Node, g *launch.Gateway, docs string) {
	for _, era := range []string{"legacy", "modern"} {
		for _, c := range []struct {
			args []string
			want string
		}{
			{[]string{"--method", "tools/list"}, "fast__add"},
			{[]string{"--method", "tools/call", "--tool-name", "everything__echo", "--tool-arg", "message=pay"}, "Echo: pay"},
			{[]string{"--method", "tools/call", "--tool-name", "files__list_directory", "--tool-arg", "path=" + docs}, "toll.txt"},
			{[]string{"--method", "tools/call", "--tool-name", "apps__get-time", "--app-info"}, "ui://get-time/mcp-app.html"},
			{[]string{"--method", "resources/read", "--uri", "fast://note"}, "a note of fast"},
			{[]string{"--method", "prompts/get", "--prompt-name", "fast__greet", "--prompt-args", "who=Bo"}, "greet Bo"},
		} {
			argv := n.Inspector(append([]string{g.URL() + "/mcp", "--transport", "http", "--protocol-era", era, "--header", "Authorization: Bearer " + secretOf("full")}, c.args...)...)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
			cancel()
			if err != nil || !strings.Contains(plainJSON(out), c.want) {
				t.Errorf("%s %v: %v, no %q in %.600s", era, c.args, err, c.want, out)
			}
		}
	}
}

// plainJSON undoes the escapes of a text that is JSON.
func plainJSON(text []byte) string {
	var v any
	if json.Unmarshal(text, &v) != nil {
		return string(text)
	}
	return fmt.Sprint(v)
}
