package oauth

import (
	"errors"
	"net/http"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/policy"
)

// Refusal says why a request has no principal. Text is made for the caller and tells nothing of which keys exist.
type Refusal struct {
	Status int // 400 for two credentials, 401 for none or a bad one
	Text   string
}

func (r *Refusal) Error() string { return r.Text }

// Authenticator turns the credential of a request into a principal. Safe for concurrent use.
type Authenticator struct{}

// Authenticate reads the credential from Authorization: Bearer, x-api-key, api-key, x-goog-api-key, x-tollgate-key or
// x-bf-vk. Its error is a *Refusal.
func (a *Authenticator) Authenticate(r *http.Request) (*policy.Principal, error) {
	return nil, errors.New("oauth: not built yet")
}

// Credential is what one upstream wants to see.
type Credential struct {
	Headers map[string]secret.String // by header name, for HTTP upstreams
	Env     map[string]secret.String // by variable name, for stdio servers
}

// Vault hands out the credentials of upstreams. Safe for concurrent use.
type Vault struct{}

// Apply sets the credential headers of p's upstream. It refuses without a live permit.
func (v *Vault) Apply(p *gate.Permit, h http.Header) error { return gate.ErrNoPermit }

// Env returns the credential variables, as NAME=value, of p's stdio server. It refuses without a live permit.
func (v *Vault) Env(p *gate.Permit) ([]string, error) { return nil, gate.ErrNoPermit }
