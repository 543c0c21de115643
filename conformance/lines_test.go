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
func calls(t *testing.T, ctx context.Context, g *launch.Gateway, filters ...string) []line {
	t.Helper()
	out, err := g.Command(ctx, append([]string{"audit", "query", "--oldest-first", "--limit", "1000", "--format", "json"}, filters...)...)
	if err != nil {
		t.Fatal(err)
	}
	var lines []line
	if err := json.Unmarshal(out, &lines); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return lines
}
