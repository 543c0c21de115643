package settings

import (
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/ledger/payload"
	"github.com/tollgate/tollgate/policy"
)

func TestPayloadsOfReference(t *testing.T) {
	p := loadReference(t).Privacy
	if p.Retention != 30*24*time.Hour || len(p.KEK) != 32 || len(p.KEKBefore) != 32 || string(p.KEK) == string(p.KEKBefore) {
		t.Errorf("%+v", p)
	}
	for name, tt := range map[string]struct {
		call policy.Call
		key  string
		want payload.Mode
	}{
		"a server's, more private":    {policy.Call{Action: policy.ToolCall, Upstream: "files"}, "file:local", payload.Digest},
		"the general one":             {policy.Call{Action: policy.ToolCall, Upstream: "internal"}, "file:local", payload.Redacted},
		"a provider's":                {policy.Call{Action: policy.Chat, Upstream: "openai"}, "file:local", payload.Redacted},
		"a key's":                     {policy.Call{Action: policy.Chat, Upstream: "openai"}, "file:ci-bot", payload.Off},
		"a minted key of its name":    {policy.Call{Action: policy.Chat, Upstream: "openai"}, "ci-bot", payload.Redacted},
		"not a provider for a server": {policy.Call{Action: policy.Chat, Upstream: "files"}, "", payload.Redacted},
	} {
		tt.call.Principal = &policy.Principal{KeyID: tt.key}
		if got := p.Rules.Mode(&tt.call); got != tt.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestPayloadsAreOffByThemselves(t *testing.T) {
	s, err := prepared(t, "servers: {files: {url: http://127.0.0.1:1/mcp}}\n")
	if err != nil || !s.Privacy.Rules.Silent() || s.Privacy.KEK != nil || s.Privacy.Retention != 30*24*time.Hour {
		t.Errorf("%+v, %v", s.Privacy, err)
	}
	var out strings.Builder
	s.Describe(&out, "x")
	if !strings.Contains(out.String(), "payloads: nothing is kept") {
		t.Error(out.String())
	}
}

func TestFaultsOfPayloads(t *testing.T) {
	t.Setenv("SHORT_KEK", "too-short")
	for text, want := range map[string]string{
		"payloads: {mode: some}\n":                                         `tollgate.yaml:3: "some" is no mode for payloads`,
		"servers:\n  a:\n    url: http://h/\n    payloads: all\n":          `tollgate.yaml:6: "all" is no mode`,
		"providers:\n  a: {kind: custom, base_url: http://h, payloads: x}": `tollgate.yaml:4: "x" is no mode`,
		"payloads: {retention: 5h}\n":                                      "5h",
		"payloads: {kek: plain-text-is-not-a-reference-to-one}\n":          "env:NAME",
		"payloads: {kek: env:SHORT_KEK}\n":                                 "fewer than 32 characters",
	} {
		if _, err := prepared(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
