package conformance

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/conformance/launch"
	"github.com/tollgate/tollgate/conformance/peers"
)

// starter is `tollgate serve` without a config file, in an empty home.
type starter struct {
	url, key string
	lines    []string // what it printed
	env      []string
	dir      string
}

func startStarter(t *testing.T) *starter {
	t.Helper()
	binary, err := launch.Binary(root)
	must(t, err)
	home, err := os.MkdirTemp("", "toll-") // short: the path of the admin socket has 107 bytes
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(home) })
	addr, err := launch.FreeAddr()
	must(t, err)
	s := &starter{url: "http://" + addr, dir: home, env: []string{"HOME=" + home, "XDG_STATE_HOME=" + home, "XDG_CONFIG_HOME=" + home}}
	p, err := launch.Run(home, s.env, binary, "serve", "--starter-listen", addr, "--starter-admin", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	must(t, p.Printed(t.Context(), "Ctrl-C stops it"))
	s.lines = strings.Split(p.Log(), "\n")
	for _, line := range s.lines {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "key "); ok {
			s.key = strings.Fields(rest)[0]
		}
	}
	if !strings.HasPrefix(s.key, "tg_sk_") {
		t.Fatalf("no key in:\n%s", p.Log())
	}
	return s
}

// paste runs the printed line that holds text, as a person would paste it into a shell.
func (s *starter) paste(t *testing.T, text string) string {
	t.Helper()
	for _, line := range s.lines {
		if !strings.Contains(line, text) {
			continue
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
		cmd.Dir, cmd.Env = s.dir, append(os.Environ(), s.env...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
		return string(out)
	}
	t.Errorf("no line with %q was printed", text)
	return ""
}

// spawn has a client spawn the process that the printed lines name for clients which do nothing else.
func (s *starter) spawn(t *testing.T, n *peers.Node) {
	t.Helper()
	for _, line := range s.lines {
		var file struct {
			Servers map[string]struct {
				Command string
				Args    []string
			} `json:"mcpServers"`
		}
		if json.Unmarshal([]byte(line), &file) != nil || file.Servers["tollgate"].Command == "" {
			continue
		}
		spawn := file.Servers["tollgate"]
		command := append(append([]string{"env"}, s.env...), append([]string{spawn.Command}, spawn.Args...)...)
		out := run(t, n, "mcp.mjs", job{Command: command, Era: "legacy", Steps: []step{{"do": "call", "name": "demo__calculate", "args": step{"expression": "6*7"}}}})
		if !out[0].says("42") {
			t.Errorf("%s: %s", line, &out[0])
		}
		return
	}
	t.Error("no line says what a client is to spawn")
}

func TestTheStartersLinesWorkWhenPasted(t *testing.T) {
	withPeers(t)
	n := node(t)
	s := startStarter(t)
	if got := s.paste(t, "/v1/chat/completions"); !strings.Contains(got, "42") {
		t.Errorf("the model: %s", got)
	}
	if got := s.paste(t, "tools/call"); !strings.Contains(got, "42") {
		t.Errorf("the tool: %s", got)
	}
	s.spawn(t, n)
	ledger := s.paste(t, "audit query")
	for _, want := range []string{"llm.chat", "demo/demo", "tool.call", "demo/calculate", "starter"} {
		if !strings.Contains(ledger, want) {
			t.Errorf("no %q in the ledger:\n%s", want, ledger)
		}
	}
}

func TestOfficialClientsOnTheStarter(t *testing.T) {
	withPeers(t)
	s := startStarter(t)
	n := node(t)
	for _, era := range eras {
		out := run(t, n, "mcp.mjs", job{URL: s.url + "/mcp", Key: s.key, Era: era, Steps: []step{
			{"do": "tools"}, {"do": "call", "name": "demo__calculate", "args": step{"expression": "6*7"}},
		}})
		var tools toolList
		if out[0].read(t, &tools); len(tools.Tools) == 0 {
			t.Errorf("%s: no demo tools", era)
		}
		if !out[1].says("42") {
			t.Errorf("%s: %s", era, &out[1])
		}
	}
	for _, sdk := range sdks {
		var steps []step
		for _, stream := range []bool{false, true} {
			steps = append(steps,
				step{"sdk": "openai", "do": "chat", "model": "demo/demo", "prompt": "what is 6*7?", "stream": stream},
				step{"sdk": "openai", "do": "responses", "model": "demo/demo", "prompt": "what is 6*7?", "stream": stream},
				step{"sdk": "anthropic", "do": "messages", "model": "demo/demo", "prompt": "what is 6*7?", "stream": stream})
		}
		out := run(t, sdk.peers(t), sdk.script, job{URL: s.url, Key: s.key, Steps: steps})
		for i := range out {
			var got said
			if out[i].read(t, &got); !strings.Contains(got.Text, "42") || got.Input == 0 || got.Output == 0 {
				t.Errorf("%s, %v: %+v", sdk.language, steps[i], got)
			}
		}
	}
}
