package oauth

import (
	"net/http"

	"github.com/tollgate/tollgate/internal/edge"
	"github.com/tollgate/tollgate/policy"
)

// Authenticator turns the credential of a request into a principal. Safe for concurrent use.
type Authenticator struct {
	keys      *Keys
	anonymous string
}

// NewAuthenticator authenticates by keys. A request without a credential acts as the key named anonymous if it came over
// a connection from this machine; with "" it is refused like all others.
func NewAuthenticator(keys *Keys, anonymous string) *Authenticator {
	return &Authenticator{keys: keys, anonymous: anonymous}
}

// Authenticate reads the credential from Authorization: Bearer, x-api-key, api-key, x-goog-api-key, x-tollgate-key or
// x-bf-vk. Its error is a *Refusal.
//
// The principal is shared by all requests of a key and stays the same one until something about the key changes: whoever
// wants to add to it, such as the client's name, makes a copy.
func (a *Authenticator) Authenticate(r *http.Request) (*policy.Principal, error) {
	credential, problem := edge.Credential(r.Header)
	if problem != nil {
		return nil, &Refusal{problem.Status, problem.Text}
	}
	if credential == "" {
		if a.anonymous != "" && edge.Loopback(r) {
			if h := a.keys.table.Load().byName[a.anonymous]; h != nil && h.live(a.keys.now) {
				return h.principal, nil
			}
		}
		return nil, errNoKey
	}
	g := a.keys.lookup(credential)
	switch lost := a.keys.contact.lost(); {
	case lost && (g == nil || !g.holder.key.Declared):
		return nil, errUnsure
	case g == nil || !g.live(a.keys.now):
		return nil, errBadKey
	}
	return g.holder.principal, nil
}
