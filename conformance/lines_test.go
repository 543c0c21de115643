package conformance

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/tollgate/tollgate/conformance/launch"
)

// line is a call as `tollgate audit query --format json` prints it, as far as these tests look.
type line struct {
	ID        string `json:"id"`
	Parent    string `json:"parent"`
	Trace     string `json:"trace"`
	Kind      string `json:"kind"`
	Principal struct {
		Customer string `json:"customer"`
		Key      string `json:"key"`
	} `json:"principal"`
	Action     string `json:"action"`
	Upstream   string `json:"upstream"`
	Target     string `json:"target"`
	Cost       int64  `json:"cost"` // nano-USD
	Quantities struct {
		Input  int64 `json:"input_tokens"`
		Output int64 `json:"output_tokens"`
		Calls  int64 `json:"calls"`
	} `json:"quantities"`
	Estimated bool   `json:"estimated"`
	Outcome   string `json:"outcome"`
}

// calls lists all calls in the ledger, the oldest first.
func calls(t *testing.T, g *launch.Gateway, filters ...string) []line {
	t.Helper()
	var lines []line
	command(t, g, &lines, append([]string{"audit", "query", "--oldest-first", "--limit", "0"}, filters...)...)
	return lines
}

// standing is a limit as `tollgate limits show --format json` prints it; amounts are nano-USD, tokens or calls.
type standing struct {
	Scope string `json:"scope"`
	Limit string `json:"limit"`
	Used  int64  `json:"used"`
	Held  int64  `json:"held"`
	Left  int64  `json:"left"`
}

// limit returns how a limit stands.
func limit(t *testing.T, g *launch.Gateway, scope, text string) standing {
	t.Helper()
	var all []standing
	command(t, g, &all, "limits", "show")
	for _, s := range all {
		if s.Scope == scope && s.Limit == text {
			return s
		}
	}
	t.Fatalf("no limit %q of %s in %+v", text, scope, all)
	return standing{}
}

// command runs a command of the binary that lists, and reads its JSON.
func command(t *testing.T, g *launch.Gateway, into any, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := g.Command(ctx, append(args, "--format", "json")...)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, into); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
}
