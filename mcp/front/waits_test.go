package front

import (
	"strings"
	"testing"

	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

// TestWhoMayWait: a call gets a goroutine of its own only when its server may ask and its caller can be asked; finding that
// it is none of those costs nothing.
func TestWhoMayWait(t *testing.T) {
	const able = `{"elicitation":{}}`
	for _, tt := range []struct {
		name         string
		era          upstream.Era
		legacyServer bool
		action       policy.Action
		capabilities string
		more         string // of params
		want         bool
	}{
		{"able, and a server that asks", upstream.Modern, true, policy.ToolCall, able, ``, true},
		{"a prompt", upstream.Modern, true, policy.PromptGet, able, ``, true},
		{"a resource", upstream.Modern, true, policy.ResourceRead, able, ``, true},
		{"a completion", upstream.Modern, true, policy.Complete, able, ``, false},
		{"a caller that can be asked nothing", upstream.Modern, true, policy.ToolCall, `{}`, ``, false},
		{"a caller with other capabilities", upstream.Modern, true, policy.ToolCall, `{"extensions":{"a/b":{}},"experimental":{}}`, ``, false},
		{"a caller that declares without an object", upstream.Modern, true, policy.ToolCall, `{"\u0065licitation":null}`, ``, false},
		{"a modern server", upstream.Modern, false, policy.ToolCall, able, ``, false},
		{"a legacy caller", upstream.Legacy, true, policy.ToolCall, able, ``, false},
		{"a state that is no longer its server's business", upstream.Modern, true, policy.ToolCall, `{}`, `,"requestState":"x"`, true},
		{"answers that are no legacy server's business", upstream.Modern, true, policy.ToolCall, `{}`, `,"inputResponses":{}`, true},
		{"a modern server's own state", upstream.Modern, false, policy.ToolCall, able, `,"requestState":"x"`, false},
	} {
		h := newHall()
		h.legacy = tt.legacyServer
		x := &exchange{Front: New(Config{Backend: h})}
		m, refused := rpc.Parse([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"` + tt.more + `}}`))
		if refused != nil {
			t.Fatal(refused)
		}
		call := &Call{
			Action: tt.action, Entry: h.catalog.Space("").Tool("srv__t"),
			Context: &era.Context{Era: tt.era, Capabilities: []byte(tt.capabilities)},
		}
		if got := x.waits(m, call); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
		if tt.want || tt.more != "" || strings.Contains(tt.capabilities, "null") {
			continue
		}
		if n := testing.AllocsPerRun(100, func() { x.waits(m, call) }); n != 0 {
			t.Errorf("%s: %v allocations to find out", tt.name, n)
		}
	}
}
