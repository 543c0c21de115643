package oauth

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/policy"
)

// Credential is what one upstream wants to see.
type Credential struct {
	Headers map[string]secret.String // by header name, for HTTP upstreams
	Env     map[string]secret.String // by variable name, for stdio servers
}

// Upstream names an upstream: servers and providers have their own namespaces.
type Upstream struct {
	Side policy.Side
	Name string
}

// Vault hands out the credentials of upstreams. Safe for concurrent use. The zero Vault has none.
type Vault struct {
	credentials atomic.Pointer[map[Upstream]Credential]
}

// Replace sets the credentials of all upstreams, all or nothing. An upstream that is left out has none.
func (v *Vault) Replace(credentials map[Upstream]Credential) error {
	kept := make(map[Upstream]Credential, len(credentials))
	for u, c := range credentials {
		for name, value := range c.Headers {
			if !isToken(name) || !isFieldValue(value.Reveal()) {
				return fmt.Errorf("credential of %s: header %q cannot be sent: its name or value has a character that headers do not allow", u.Name, name)
			}
		}
		for name, value := range c.Env {
			if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(value.Reveal(), "\x00") {
				return fmt.Errorf("credential of %s: variable %q cannot be set", u.Name, name)
			}
		}
		kept[u] = Credential{maps.Clone(c.Headers), maps.Clone(c.Env)}
	}
	v.credentials.Store(&kept)
	return nil
}

// Apply sets the credential headers of p's upstream. It refuses without a live permit.
func (v *Vault) Apply(p *gate.Permit, h http.Header) error {
	c, err := v.of(p)
	if err != nil {
		return err
	}
	for name, value := range c.Headers {
		h.Set(name, value.Reveal())
	}
	return nil
}

// Env returns the credential variables, as NAME=value, of p's stdio server. It refuses without a live permit.
func (v *Vault) Env(p *gate.Permit) ([]string, error) {
	c, err := v.of(p)
	if err != nil {
		return nil, err
	}
	var env []string
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		env = append(env, name+"="+c.Env[name].Reveal())
	}
	return env, nil
}

// of returns the credential of the upstream that p is for. Which one that is, the permit says and nobody else.
func (v *Vault) of(p *gate.Permit) (Credential, error) {
	if p == nil || p.Call() == nil {
		return Credential{}, gate.ErrNoPermit
	}
	u := Upstream{p.Call().Action.Side(), p.Call().Upstream}
	if err := p.Allows(u.Side, u.Name); err != nil {
		return Credential{}, err
	}
	if all := v.credentials.Load(); all != nil {
		return (*all)[u], nil
	}
	return Credential{}, nil
}

// isToken reports whether name can be a header's name (RFC 9110, section 5.6.2).
func isToken(name string) bool {
	return name != "" && strings.IndexFunc(name, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	}) < 0
}

// isFieldValue reports whether value can be a header's value: no control characters but tab.
func isFieldValue(value string) bool {
	return strings.IndexFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) < 0
}
