package conformance

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/conformance/launch"
	"github.com/tollgate/tollgate/conformance/peers"
)

// The eras, as the official client is told them.
var eras = []string{"legacy", "2026-07-28"}

// toolRules give one key what only reads, and the others everything.
const toolRules = `version: 1
rules:
  - {id: full, effect: allow, tools: ["*"], when: 'key.name != "reader"'}
  - {id: reader, effect: allow, tools: ["*"], when: 'key.name == "reader" && tool.read_only'}
`

// secretOf is the secret of a key that a test declares.
func secretOf(key string) string { return "a-secret-of-the-key-" + key }

// threeServers is a gateway over the three official servers and one that is down; docs is what the file server serves.
func threeServers(t *testing.T, n *peers.Node) (g *launch.Gateway, docs string) {
	t.Helper()
	docs = t.TempDir()
	if err := os.WriteFile(filepath.Join(docs, "toll.txt"), []byte("one ducat per cart"), 0o644); err != nil {
		t.Fatal(err)
	}
	down, err := launch.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	yaml := fmt.Sprintf(`
servers:
  everything: {command: %s, trusted: true}
  files:      {command: %s, trusted: true}
  memory:     {command: %s, trusted: true, env: {MEMORY_FILE_PATH: %q}}
  dead:       {url: "http://%s/mcp"}
keys:
  full:   {secret: env:FULL}
  reader: {secret: env:READER}
  metered-legacy:     {secret: env:METERED_LEGACY, limits: [3 calls / 1m]}
  metered-2026-07-28: {secret: env:METERED_MODERN, limits: [3 calls / 1m]}
`, argv(n.Server("@modelcontextprotocol/server-everything", "stdio")), argv(n.Server("@modelcontextprotocol/server-filesystem", docs)),
		argv(n.Server("@modelcontextprotocol/server-memory")), filepath.Join(t.TempDir(), "memory.jsonl"), down)
	return gateway(t, yaml, toolRules, "FULL="+secretOf("full"), "READER="+secretOf("reader"),
		"METERED_LEGACY="+secretOf("metered-legacy"), "METERED_MODERN="+secretOf("metered-2026-07-28")), docs
}

// argv writes a command as a YAML list.
func argv(command []string) string {
	b, err := json.Marshal(command)
	if err != nil {
		panic(err) // texts
	}
	return string(b)
}

type toolList struct {
	Tools []struct {
		Name        string
		Annotations struct{ ReadOnlyHint bool }
	}
	Meta json.RawMessage `json:"_meta"`
}

func (l *toolList) names() []string {
	var names []string
	for _, tool := range l.Tools {
		names = append(names, tool.Name)
	}
	return names
}

func TestOfficialServersBehindOneEndpoint(t *testing.T) {
	withPeers(t)
	n := node(t)
	g, docs := threeServers(t, n)
	for _, era := range eras {
		do := func(t *testing.T, key string, steps ...step) []outcome {
			return run(t, n, "mcp.mjs", job{URL: g.URL() + "/mcp", Key: secretOf(key), Era: era, Steps: steps})
		}
		t.Run(era, func(t *testing.T) {
			t.Run("all servers answer", func(t *testing.T) { allServersAnswer(t, do, era, docs) })
			t.Run("a key that only reads", func(t *testing.T) { onlyWhatReads(t, do, docs) })
			t.Run("a key with three calls a minute", func(t *testing.T) { threeCalls(t, do, "metered-"+era) })
		})
	}
}

// doing does steps with a key, in one era.
type doing func(t *testing.T, key string, steps ...step) []outcome

func allServersAnswer(t *testing.T, do doing, era, docs string) {
	out := do(t, "full",
		step{"do": "server"}, step{"do": "tools"},
		step{"do": "call", "name": "everything__echo", "args": step{"message": "pay the toll"}},
		step{"do": "call", "name": "files__read_text_file", "args": step{"path": filepath.Join(docs, "toll.txt")}},
		step{"do": "call", "name": "memory__read_graph"},
		step{"do": "resources"}, step{"do": "prompts"},
	)
	var server struct{ Version, Name string }
	if out[0].read(t, &server); server.Name != "tollgate" || era != "legacy" && server.Version != era {
		t.Errorf("connected to %+v", server)
	}
	var tools toolList
	out[1].read(t, &tools)
	for _, want := range []string{"everything__echo", "files__write_file", "memory__create_entities"} {
		if !slices.Contains(tools.names(), want) {
			t.Errorf("%s is not in the list: %v", want, tools.names())
		}
	}
	if !strings.Contains(string(tools.Meta), "dead") {
		t.Errorf("the list does not say that a server is down: %s", tools.Meta)
	}
	for i, want := range []string{"pay the toll", "one ducat per cart", "entities"} {
		if !out[2+i].says(want) {
			t.Errorf("no %q in %s", want, &out[2+i])
		}
	}
	var listed struct {
		Resources []struct{ URI string }
		Prompts   []struct{ Name string }
	}
	out[5].read(t, &listed)
	out[6].read(t, &listed)
	if len(listed.Resources) == 0 || len(listed.Prompts) == 0 {
		t.Fatalf("%d resources, %d prompts", len(listed.Resources), len(listed.Prompts))
	}
	readAndPrompt(t, do, listed.Resources[0].URI)
}

// readAndPrompt reads a resource that was listed and gets a prompt.
func readAndPrompt(t *testing.T, do doing, uri string) {
	out := do(t, "full", step{"do": "read", "uri": uri}, step{"do": "prompt", "name": "everything__simple-prompt"})
	var got struct {
		Contents []struct{ URI, Text, Blob string }
		Messages []json.RawMessage
	}
	out[0].read(t, &got)
	out[1].read(t, &got)
	if len(got.Contents) == 0 || got.Contents[0].URI != uri || got.Contents[0].Text+got.Contents[0].Blob == "" || len(got.Messages) == 0 {
		t.Errorf("read %+v, prompt %s", got.Contents, got.Messages)
	}
}

func onlyWhatReads(t *testing.T, do doing, docs string) {
	written := filepath.Join(docs, "forbidden.txt")
	out := do(t, "reader",
		step{"do": "tools"},
		step{"do": "call", "name": "files__read_text_file", "args": step{"path": filepath.Join(docs, "toll.txt")}},
		step{"do": "call", "name": "files__write_file", "args": step{"path": written, "content": "no"}},
		step{"do": "call", "name": "files__no_such_tool"},
	)
	var tools toolList
	if out[0].read(t, &tools); len(tools.Tools) == 0 {
		t.Error("nothing is listed")
	}
	for _, tool := range tools.Tools {
		if !tool.Annotations.ReadOnlyHint {
			t.Errorf("%s is listed and may write", tool.Name)
		}
	}
	if !out[1].says("one ducat per cart") {
		t.Errorf("reading: %s", &out[1])
	}
	if out[2].Error == nil || out[3].Error == nil {
		t.Fatalf("hidden and unknown tools must be refused: %s %s", &out[2], &out[3])
	}
	hidden := strings.ReplaceAll(out[2].Error.Message, "write_file", "no_such_tool")
	if out[2].Error.Code != -32602 || out[3].Error.Code != -32602 || hidden != out[3].Error.Message {
		t.Errorf("a hidden tool differs from an unknown one: %s %s", &out[2], &out[3])
	}
	if _, err := os.Stat(written); err == nil {
		t.Error("the file was written")
	}
}

// retrySecondsMax is the window and the step in which a sliding window is counted.
const retrySecondsMax = 60 + 1

func threeCalls(t *testing.T, do doing, key string) {
	var steps []step
	for i := range 4 {
		steps = append(steps, step{"do": "call", "name": "everything__echo", "args": step{"message": fmt.Sprint("call ", i)}})
	}
	out := do(t, key, steps...)
	for i := range 3 {
		if !out[i].says(fmt.Sprint("call ", i)) {
			t.Errorf("call %d: %s", i, &out[i])
		}
	}
	var refusal struct {
		IsError bool
		Content []struct{ Text string }
		Meta    struct {
			Tollgate struct {
				Limit      string
				RetryAfter float64 `json:"retry_after"`
			}
		} `json:"_meta"`
	}
	out[3].read(t, &refusal)
	told := refusal.Meta.Tollgate
	if !refusal.IsError || told.Limit != "3 calls / 1m" || told.RetryAfter <= 0 || told.RetryAfter > retrySecondsMax {
		t.Errorf("the fourth call: %s", &out[3])
	}
	if len(refusal.Content) != 1 || !strings.Contains(refusal.Content[0].Text, "retry after") {
		t.Errorf("the model is not told when to retry: %s", &out[3])
	}
}
