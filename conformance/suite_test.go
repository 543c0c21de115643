package conformance

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/conformance/launch"
	"github.com/tollgate/tollgate/conformance/peers"
)

// root is the repository.
const root = ".."

// patience bounds one run of a script or command.
const patience = 2 * time.Minute

// withPeers skips a test that installs peers, unless that was asked for.
func withPeers(t *testing.T) {
	t.Helper()
	if os.Getenv("CONFORMANCE") != "1" {
		t.Skip("installs its peers with npm and pip: run make conformance")
	}
}

// node is the installed npm packages.
func node(t *testing.T) *peers.Node {
	t.Helper()
	n, err := peers.InstallNode(t.Context(), root, os.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// python is the installed pip packages.
func python(t *testing.T) *peers.Python {
	t.Helper()
	p, err := peers.InstallPython(t.Context(), root, os.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// gateway starts the built binary and stops it with the test. Its secrets are in env as NAME=value.
func gateway(t *testing.T, yaml string, rules string, env ...string) *launch.Gateway {
	t.Helper()
	binary, err := launch.Binary(root)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "toll-") // short: the path of the admin socket has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	g, err := launch.Start(t.Context(), launch.Config{
		Binary: binary, Dir: dir, YAML: yaml, Policies: map[string]string{"rules.yaml": rules}, Env: env,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the gateway's log ends with:\n%s", g.Log())
		}
	})
	return g
}

// step is one thing that a script is asked to do: "do" says what.
type step map[string]any

// job is what a script is given.
type job struct {
	URL     string            `json:"url"`
	Command []string          `json:"command,omitempty"` // to be spawned instead
	Key     string            `json:"key"`
	Era     string            `json:"era,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Steps   []step            `json:"steps"`
}

// outcome is what came of a step: a result or an error.
type outcome struct {
	OK       json.RawMessage `json:"ok"`
	Error    *failure        `json:"error"`
	Progress int             `json:"progress"` // how often progress was told of
	Asked    int             `json:"asked"`    // how often the client was asked
}

type failure struct {
	Code    int             `json:"code"` // of JSON-RPC, or of HTTP
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data"`
}

// runner runs scripts: peers.Node and peers.Python are two.
type runner interface {
	Run(ctx context.Context, script string, in, out any) error
}

// run has script do the job; there is one outcome per step.
func run(t *testing.T, r runner, script string, j job) []outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out []outcome
	if err := r.Run(ctx, script, j, &out); err != nil {
		t.Fatal(err)
	}
	if len(out) != len(j.Steps) {
		t.Fatalf("%d outcomes of %d steps", len(out), len(j.Steps))
	}
	return out
}

// read decodes a good outcome.
func (o *outcome) read(t *testing.T, into any) {
	t.Helper()
	if o.Error != nil {
		t.Fatalf("refused: %d %s %s", o.Error.Code, o.Error.Message, o.Error.Data)
	}
	if err := json.Unmarshal(o.OK, into); err != nil {
		t.Fatalf("%v in %s", err, o.OK)
	}
}

// says reports whether the outcome holds text, in whatever form.
func (o *outcome) says(text string) bool {
	b, _ := json.Marshal(o) // of decoded JSON
	return strings.Contains(string(b), text)
}

func (o *outcome) String() string {
	b, _ := json.Marshal(o)
	return string(b)
}
