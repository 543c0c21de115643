package llm

import (
	"net/http"
	"net/url"

	"github.com/tollgate/tollgate/internal/edge"
	"github.com/tollgate/tollgate/llm/vendor"
)

// forwarded copies what of a client's headers goes to a provider: all that the edge lets through but those that would
// choose an account under the provider's key.
func forwarded(in http.Header) http.Header {
	out := make(http.Header, len(in)+4)
	edge.CopyForwardable(out, in, choosesNoAccount)
	return out
}

func choosesNoAccount(name string) bool {
	switch name {
	case "Openai-Organization", "Openai-Project", "X-Goog-User-Project", "Anthropic-Workspace-Id":
		return false
	}
	return true
}

// returned copies what of a provider's headers goes to the client. The length is that of what is written.
func returned(out, in http.Header) { edge.CopyReturnable(out, in, nil) }

// query keeps of a client's query what goes to a provider: the parameters that Anthropic's and Azure's clients send. A key
// may stand in the rest.
func query(raw string) string {
	if raw == "" {
		return ""
	}
	in, err := url.ParseQuery(raw)
	if err != nil {
		return ""
	}
	out := url.Values{}
	for _, name := range [...]string{"beta", "api-version"} {
		if v := in.Get(name); v != "" {
			out.Set(name, v)
		}
	}
	return out.Encode()
}

// keepOne removes from h the forms of the provider's key that this endpoint does not take.
func keepOne(h http.Header, auth vendor.Auth) {
	for _, form := range [...]struct {
		name string
		auth vendor.Auth
	}{{"Authorization", vendor.Bearer}, {"X-Api-Key", vendor.XAPIKey}, {"Api-Key", vendor.APIKey}} {
		if form.auth != auth {
			delete(h, form.name)
		}
	}
}
