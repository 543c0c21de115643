package oauth

import "net/http"

// Refusal says why a request has no principal. Text is made for the caller and tells nothing of which keys exist.
type Refusal struct {
	Status int // 400 for two credentials, 401 for none or a bad one, 503 while it cannot be known
	Text   string
}

func (r *Refusal) Error() string { return r.Text }

// The two refusals of a request whose form is in order. An unknown, expired, revoked or mistyped key get the same one.
var (
	errNoKey  = &Refusal{http.StatusUnauthorized, "no key: send it as Authorization: Bearer KEY, or in x-api-key"}
	errBadKey = &Refusal{http.StatusUnauthorized, "the key is not valid"}
)

// errUnsure is for every key that is not declared, existing or not, while there is no contact with the database: it may
// have been revoked, or minted, meanwhile.
var errUnsure = &Refusal{http.StatusServiceUnavailable, "the key cannot be checked now: the gateway has lost its database; try again"}
