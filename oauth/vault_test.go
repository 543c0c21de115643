package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/gatetest"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/policy"
)

// vaulted is a gate with a tool server and a provider of the same name, and a vault with a credential for each.
func vaulted(t *testing.T) (*gatetest.Fixture, *Vault) {
	to, err := url.Parse("http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	f := gatetest.New(t, gatetest.Options{
		Rules: `{version: 1, rules: [{id: all, effect: allow, tools: ["*"], models: ["*"]}]}`,
		Upstreams: []gate.Upstream{
			{Side: policy.Tools, Name: "same", URL: to, Private: true},
			{Side: policy.Models, Name: "same", URL: to, Private: true},
			{Side: policy.Tools, Name: "bare", URL: to, Private: true},
		},
	})
	v := &Vault{}
	err = v.Replace(map[Upstream]Credential{
		{policy.Tools, "same"}:  {Headers: map[string]secret.String{"x-key": secret.New("for-tools")}, Env: map[string]secret.String{"B": secret.New("2"), "A": secret.New("1=1")}},
		{policy.Models, "same"}: {Headers: map[string]secret.String{"Authorization": secret.New("Bearer for-models")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return f, v
}

func toolCall(server string) policy.Call {
	return policy.Call{Principal: &policy.Principal{Key: "k", KeyID: "k"}, Action: policy.ToolCall, Upstream: server, Target: "t", Tool: &policy.Tool{Server: server, Name: "t", Kind: "tool"}}
}

func chatCall(provider string) policy.Call {
	return policy.Call{Principal: &policy.Principal{Key: "k", KeyID: "k"}, Action: policy.Chat, Upstream: provider, Target: "m", Model: &policy.Model{Provider: provider, Name: "m"}}
}

func TestVaultGivesThePermitsOwnCredential(t *testing.T) {
	f, v := vaulted(t)
	tests := []struct {
		call    policy.Call
		headers string
		env     []string
	}{
		{toolCall("same"), "map[X-Key:[for-tools]]", []string{"A=1=1", "B=2"}},
		{chatCall("same"), "map[Authorization:[Bearer for-models]]", nil},
		{toolCall("bare"), "map[]", nil},
	}
	for _, test := range tests {
		var leaked *gate.Permit
		err := f.Gate.Do(t.Context(), test.call, ledger.Hold{}, func(_ context.Context, p *gate.Permit) error {
			leaked = p
			h := http.Header{}
			if err := v.Apply(p, h); err != nil || fmt.Sprint(h) != test.headers {
				t.Errorf("%s: %v, %v, want %s", test.call.Upstream, h, err, test.headers)
			}
			if env, err := v.Env(p); err != nil || !slices.Equal(env, test.env) {
				t.Errorf("%s: %v, %v, want %v", test.call.Upstream, env, err, test.env)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		refuses(t, v, leaked) // the call is over
	}
	refuses(t, v, nil)
	refuses(t, v, &gate.Permit{}) // made by hand
}

func refuses(t *testing.T, v *Vault, p *gate.Permit) {
	t.Helper()
	h := http.Header{}
	if err := v.Apply(p, h); !errors.Is(err, gate.ErrNoPermit) || len(h) != 0 {
		t.Errorf("a permit that is not live gets %v, %v", h, err)
	}
	if env, err := v.Env(p); !errors.Is(err, gate.ErrNoPermit) || env != nil {
		t.Errorf("a permit that is not live gets %v, %v", env, err)
	}
}

func TestReplaceIsAllOrNothing(t *testing.T) {
	f, v := vaulted(t)
	for want, c := range map[string]Credential{
		`header "X-A"`:   {Headers: map[string]secret.String{"X-A": secret.New("sesame\r\nX-B: evil")}},
		`header "X-C"`:   {Headers: map[string]secret.String{"X-C": secret.New("sesame\x00")}},
		`header "X B"`:   {Headers: map[string]secret.String{"X B": secret.New("sesame")}},
		`header ""`:      {Headers: map[string]secret.String{"": secret.New("sesame")}},
		`variable "A=B"`: {Env: map[string]secret.String{"A=B": secret.New("sesame")}},
		`variable "C"`:   {Env: map[string]secret.String{"C": secret.New("sesame\x00")}},
	} {
		err := v.Replace(map[Upstream]Credential{{policy.Tools, "bare"}: c})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%v, want %s", err, want)
		}
	}
	given := map[string]secret.String{"X-New": secret.New("new")}
	apply := func() string {
		h := http.Header{}
		if err := f.Gate.Do(t.Context(), toolCall("same"), ledger.Hold{}, func(_ context.Context, p *gate.Permit) error { return v.Apply(p, h) }); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(h)
	}
	if got := apply(); got != "map[X-Key:[for-tools]]" {
		t.Errorf("a refused replacement changed the vault: %s", got)
	}
	if err := v.Replace(map[Upstream]Credential{{policy.Tools, "same"}: {Headers: given}}); err != nil {
		t.Fatal(err)
	}
	given["X-New"] = secret.New("changed by its owner")
	if got := apply(); got != "map[X-New:[new]]" {
		t.Errorf("after replacement: %s", got)
	}
}
