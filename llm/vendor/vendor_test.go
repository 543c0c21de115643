package vendor

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func noEnv(string) string { return "" }

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestEndpointJoinsEveryWayOfWritingABase(t *testing.T) {
	for _, c := range []struct {
		kind, base string
		dialect    Dialect
		want       string
	}{
		{"openai", "https://api.openai.com/v1", Chat, "https://api.openai.com/v1/chat/completions"},
		{"openai", "https://api.openai.com/v1/", Chat, "https://api.openai.com/v1/chat/completions"},
		{"openai", "https://api.openai.com", Responses, "https://api.openai.com/v1/responses"},
		{"openai", "https://proxy.example/openai", Chat, "https://proxy.example/openai/v1/chat/completions"},
		{"openai", "https://proxy.example/openai/v1", Embeddings, "https://proxy.example/openai/v1/embeddings"},
		{"openai", "https://open.example/api/paas/v4", Chat, "https://open.example/api/paas/v4/chat/completions"},
		{"anthropic", "https://api.anthropic.com", Messages, "https://api.anthropic.com/v1/messages"},
		{"anthropic", "https://api.anthropic.com/v1", CountTokens, "https://api.anthropic.com/v1/messages/count_tokens"},
		{"anthropic", "https://api.anthropic.com", Models, "https://api.anthropic.com/v1/models"},
		{"azure", "https://res.openai.azure.com", Chat, "https://res.openai.azure.com/openai/v1/chat/completions"},
		{"azure", "https://res.openai.azure.com/", Responses, "https://res.openai.azure.com/openai/v1/responses"},
		{"azure", "https://res.openai.azure.com/openai/v1", Chat, "https://res.openai.azure.com/openai/v1/chat/completions"},
		{"azure", "https://res.openai.azure.com/openai", Chat, "https://res.openai.azure.com/openai/v1/chat/completions"},
		{"azure", "https://res.services.ai.azure.com/anthropic", Messages, "https://res.services.ai.azure.com/anthropic/v1/messages"},
		{"bedrock", "https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1", Chat, "https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1/chat/completions"},
		{"gemini", "https://generativelanguage.googleapis.com/v1beta/openai/", Chat, "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions"},
		{"gemini", "https://generativelanguage.googleapis.com", Models, "https://generativelanguage.googleapis.com/v1beta/openai/models"},
		{"groq", "https://api.groq.com/openai/v1", Chat, "https://api.groq.com/openai/v1/chat/completions"},
		{"groq", "https://api.groq.com", Chat, "https://api.groq.com/openai/v1/chat/completions"},
		{"groq", "http://127.0.0.1:9/v1", Chat, "http://127.0.0.1:9/v1/chat/completions"},
		{"deepseek", "https://api.deepseek.com", Chat, "https://api.deepseek.com/v1/chat/completions"},
		{"deepseek", "https://api.deepseek.com/anthropic", Messages, "https://api.deepseek.com/anthropic/v1/messages"},
		{"deepseek", "https://api.deepseek.com/anthropic", Chat, "https://api.deepseek.com/v1/chat/completions"},
		{"deepseek", "https://api.deepseek.com/v1", Messages, "https://api.deepseek.com/anthropic/v1/messages"},
		{"zai", "https://api.z.ai/api/paas/v4", Chat, "https://api.z.ai/api/paas/v4/chat/completions"},
		{"zai", "https://api.z.ai/api/paas/v4", Messages, "https://api.z.ai/api/anthropic/v1/messages"},
		{"zai", "https://api.z.ai/api/anthropic", Messages, "https://api.z.ai/api/anthropic/v1/messages"},
		{"qwen", "https://dashscope.aliyuncs.com/compatible-mode/v1", Messages, "https://dashscope.aliyuncs.com/apps/anthropic/v1/messages"},
		{"deepinfra", "https://api.deepinfra.com/v1/openai", Chat, "https://api.deepinfra.com/v1/openai/chat/completions"},
		{"perplexity", "https://api.perplexity.ai", Chat, "https://api.perplexity.ai/chat/completions"},
		{"fireworks", "https://api.fireworks.ai/inference/v1", Messages, "https://api.fireworks.ai/inference/v1/messages"},
		{"fireworks", "https://api.fireworks.ai/inference", Messages, "https://api.fireworks.ai/inference/v1/messages"},
		{"openrouter", "https://openrouter.ai/api/v1", Chat, "https://openrouter.ai/api/v1/chat/completions"},
		{"openrouter", "https://openrouter.ai/api", Messages, "https://openrouter.ai/api/v1/messages"},
		{"ollama", "http://127.0.0.1:11434", Chat, "http://127.0.0.1:11434/v1/chat/completions"},
		{"ollama", "http://127.0.0.1:11434/v1", Messages, "http://127.0.0.1:11434/v1/messages"},
		{"custom", "http://127.0.0.1:8080/v1", Chat, "http://127.0.0.1:8080/v1/chat/completions"},
		{"custom", "http://127.0.0.1:8080", Chat, "http://127.0.0.1:8080/v1/chat/completions"},
		{"custom", "http://127.0.0.1:8080", Messages, "http://127.0.0.1:8080/v1/messages"},
		{"custom", "https://gw.example/team", Chat, "https://gw.example/team/chat/completions"},
		{"custom", "https://gw.example/team", Messages, "https://gw.example/team/v1/messages"},
		{"custom", "https://gw.example/team/v1", Messages, "https://gw.example/team/v1/messages"},
		{"custom", "https://gw.example/v3", Messages, "https://gw.example/v3/messages"},
		{"custom", "https://[::1]:8443/v1", Chat, "https://[::1]:8443/v1/chat/completions"},
	} {
		v, err := Lookup(c.kind)
		if err != nil {
			t.Fatal(err)
		}
		got, err := v.Endpoint(c.base, c.dialect)
		if err != nil || got.URL != c.want {
			t.Errorf("%s %s %s:\n got %s %v\nwant %s", c.kind, c.base, c.dialect, got.URL, err, c.want)
		}
	}
}

func TestBaseIsRefusedWhenItCannotBeMeant(t *testing.T) {
	v, _ := Lookup(Custom)
	for _, base := range []string{"", "host", "ftp://host", "http://", "https://u:p@host", "https://host?x=1", "https://host?", "https://host#f", "https://host/a%2Fb", "http://ho st"} {
		if e, err := v.Endpoint(base, Chat); !errors.Is(err, ErrBase) {
			t.Errorf("%q: %v, %v", base, e.URL, err)
		}
	}
	if _, err := v.Endpoint("https://user:hunter2@host", Chat); strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error quotes the password: %v", err)
	}
}

func TestEveryRowIsWhole(t *testing.T) {
	kinds := Kinds()
	if !slices.IsSorted(kinds) || len(slices.Compact(slices.Clone(kinds))) != len(kinds) {
		t.Fatalf("kinds not sorted or not unique: %v", kinds)
	}
	all := env("AZURE_OPENAI_ENDPOINT", "https://res.openai.azure.com", "AWS_REGION", "eu-west-1")
	for _, kind := range kinds {
		v, err := Lookup(kind)
		if err != nil {
			t.Fatal(err)
		}
		if v.Source == "" || v.Auth == "" {
			t.Errorf("%s: source %q, auth %q", kind, v.Source, v.Auth)
		}
		if !v.Local && kind != Custom && len(v.KeyEnv) == 0 {
			t.Errorf("%s: no variable for its key", kind)
		}
		if v.Local && (v.Probe == "" || !strings.HasPrefix(v.Root, "http://127.0.0.1:")) {
			t.Errorf("%s: a local server needs a loopback root and a probe: %q %q", kind, v.Root, v.Probe)
		}
		if v.Quirks.NoModelList == slices.Contains(v.Dialects, Models) && kind != Custom && kind != "bedrock" && kind != "qwen" {
			t.Errorf("%s: says it has a model list and has none, or the other way round", kind)
		}
		if kind == Custom {
			continue
		}
		base, err := v.Base(all)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		for _, d := range slices.Concat(v.Dialects, v.Optional) {
			if !d.Valid() {
				t.Errorf("%s: dialect %q", kind, d)
			}
			if d.anthropic() && v.Anthropic == "" {
				t.Errorf("%s: %s without a prefix for Anthropic's dialects", kind, d)
			}
			e, err := v.Endpoint(base, d)
			if err != nil || !strings.HasSuffix(e.URL, d.tail()) || strings.Contains(e.URL, "{") {
				t.Errorf("%s: %s: %v %v", kind, d, e, err)
			}
			if slices.Contains(v.Dialects, d) && slices.Contains(v.Optional, d) {
				t.Errorf("%s: %s is both usual and optional", kind, d)
			}
		}
	}
}

func TestNewFindsTheRow(t *testing.T) {
	for _, c := range []struct {
		name string
		in   Declared
		kind string
		err  error
		says string
	}{
		{"by name", Declared{Name: "groq"}, "groq", nil, ""},
		{"by kind", Declared{Name: "second", Kind: "openai"}, "openai", nil, ""},
		{"kind wins", Declared{Name: "openai", Kind: "azure", BaseURL: "https://r.openai.azure.com"}, "azure", nil, ""},
		{"any other", Declared{Name: "local", BaseURL: "http://127.0.0.1:8080/v1", Dialects: []Dialect{Chat}}, Custom, nil, ""},
		{"no dialects", Declared{Name: "local", BaseURL: "http://127.0.0.1:8080/v1"}, "", ErrKind, "dialects:"},
		{"custom without dialects", Declared{Name: "x", Kind: Custom, BaseURL: "http://h"}, "", ErrDialect, "write `dialects:`"},
		{"custom without address", Declared{Name: "x", Kind: Custom, Dialects: []Dialect{Chat}}, "", ErrBase, "write `base_url:`"},
		{"misspelt", Declared{Name: "x", Kind: "opnai"}, "", ErrKind, "openai"},
		{"address needs a variable", Declared{Name: "azure"}, "", ErrBase, "AZURE_OPENAI_ENDPOINT"},
		{"dialect of none", Declared{Name: "openai", Dialects: []Dialect{"chat "}}, "", ErrDialect, "responses"},
		{"dialect not offered", Declared{Name: "groq", Dialects: []Dialect{Messages}}, "", ErrDialect, "chat"},
	} {
		p, err := New(c.in, noEnv)
		if !errors.Is(err, c.err) || err == nil && p.Vendor.Kind != c.kind || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %+v, %v", c.name, p, err)
		}
	}
	p, err := New(Declared{Name: "xai", Dialects: []Dialect{Messages}}, noEnv)
	if err != nil || p.Speaks(Chat) || !p.Speaks(Messages) {
		t.Fatalf("declared dialects replace the row's: %+v %v", p, err)
	}
	if _, ok := p.Endpoint(Chat); ok {
		t.Error("an endpoint for a dialect that was not declared")
	}
}

func TestKeysReplaceTheCallersCredentials(t *testing.T) {
	for _, c := range []struct {
		kind    string
		dialect Dialect
		name    string
		value   string
		version string
	}{
		{"openai", Chat, "Authorization", "Bearer k", ""},
		{"anthropic", Messages, "X-Api-Key", "k", AnthropicVersion},
		{"azure", Chat, "Api-Key", "k", ""},
		{"azure", Messages, "X-Api-Key", "k", AnthropicVersion},
		{"openrouter", Messages, "Authorization", "Bearer k", AnthropicVersion},
	} {
		v, _ := Lookup(c.kind)
		e, err := v.Endpoint("https://h.example", c.dialect)
		if err != nil {
			t.Fatal(err)
		}
		h := http.Header{"Authorization": {"Bearer caller"}, "X-Api-Key": {"caller"}, "Api-Key": {"caller"}, "X-Goog-Api-Key": {"caller"}}
		e.Prepare(h, "k")
		if h.Get(c.name) != c.value || h.Get("Anthropic-Version") != c.version {
			t.Errorf("%s %s: %v", c.kind, c.dialect, h)
		}
		for name, values := range h {
			if slices.Contains(values, "caller") || slices.Contains(values, "Bearer caller") {
				t.Errorf("%s %s: the caller's %s goes along", c.kind, c.dialect, name)
			}
		}
	}
	h := http.Header{"Anthropic-Version": {"2024-01-01"}, "Authorization": {"Bearer caller"}}
	Endpoint{Auth: NoAuth, Dialect: Messages}.Prepare(h, "")
	if h.Get("Anthropic-Version") != "2024-01-01" || h.Get("Authorization") != "" {
		t.Errorf("%v", h)
	}
}

func TestTheEnvironmentNamesProviders(t *testing.T) {
	found := FromEnv(env("GROQ_API_KEY", "g", "OPENAI_API_KEY", " ", "ANTHROPIC_API_KEY", "tg_sk_own", "GROQ_BASE_URL", "http://127.0.0.1:8787/v1", "OPENAI_BASE_URL", "http://127.0.0.1:8787/v1", "XAI_API_KEY", "tg_sk_own", "GOOGLE_API_KEY", "x", "AZURE_OPENAI_API_KEY", "no address", "AWS_BEARER_TOKEN_BEDROCK", "b", "AWS_REGION", "eu-west-1"))
	var got []string
	for _, f := range found {
		got = append(got, f.Provider.Name+"="+f.KeyEnv+"@"+f.Provider.Base)
	}
	want := []string{
		"bedrock=AWS_BEARER_TOKEN_BEDROCK@https://bedrock-runtime.eu-west-1.amazonaws.com",
		"gemini=GOOGLE_API_KEY@https://generativelanguage.googleapis.com",
		"groq=GROQ_API_KEY@https://api.groq.com",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	if f := FromEnv(env("OPENAI_API_KEY", "k", "OPENAI_BASE_URL", "http://127.0.0.1:8787/v1")); len(f) != 1 || f[0].Provider.Base != "https://api.openai.com" {
		t.Errorf("a client's variable leads the gateway to itself: %+v", f)
	}
	for _, c := range [][2]string{{"", "http://127.0.0.1:11434/api/version"}, {"0.0.0.0:9999", "http://127.0.0.1:9999/api/version"}, {"http://box:1/v1", "http://box:1/api/version"}} {
		for _, p := range Locals(env("OLLAMA_HOST", c[0])) {
			if p.Name != "ollama" {
				continue
			}
			if got, err := p.Vendor.ProbeURL(p.Base); got != c[1] || err != nil {
				t.Errorf("OLLAMA_HOST=%q: %s %v", c[0], got, err)
			}
		}
	}
}

func FuzzEndpoint(f *testing.F) {
	for _, base := range []string{"https://h/v1", "http://h", "https://h/openai/v1/", "http://[::1]:1/a/b", "https://h/v1beta/openai", "x"} {
		f.Add("openai", base, "chat")
		f.Add(Custom, base, "messages")
	}
	f.Fuzz(func(t *testing.T, kind, base, dialect string) {
		v, err := Lookup(kind)
		if err != nil {
			return
		}
		e, err := v.Endpoint(base, Dialect(dialect))
		if err != nil {
			return
		}
		again, err := parseBase(e.URL)
		if err != nil || !strings.HasSuffix(again.Path, Dialect(dialect).tail()) {
			t.Errorf("%s %q %s: %q: %v", kind, base, dialect, e.URL, err)
		}
	})
}
