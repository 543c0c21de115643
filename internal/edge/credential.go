package edge

import (
	"net/http"
	"strings"
)

// credentialHeaders are the headers a virtual key may come in, in canonical form; Authorization needs a scheme, too.
var credentialHeaders = [...]string{"Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key", "X-Tollgate-Key", "X-Bf-Vk"}

// Credential returns the one credential of a request, or "" if it has none. The same one in several headers is one: some
// clients send it in each form they know. A problem, with status 400, are two different ones, or one header sent twice;
// with 401, an Authorization of another scheme than Bearer.
func Credential(h http.Header) (string, *Problem) {
	found := ""
	for i, name := range &credentialHeaders {
		values := h[name]
		if len(values) == 0 {
			continue
		}
		if len(values) > 1 {
			return "", &Problem{http.StatusBadRequest, "send the header " + name + " once"}
		}
		text := values[0]
		if i == 0 && text != "" {
			scheme, rest, _ := strings.Cut(text, " ")
			if !strings.EqualFold(scheme, "Bearer") {
				return "", &Problem{http.StatusUnauthorized, "the Authorization header must have the form: Bearer KEY"}
			}
			text = rest
		}
		text = strings.TrimSpace(text)
		if text == "" || text == found {
			continue
		}
		if found != "" {
			return "", &Problem{http.StatusBadRequest, "the request carries two different credentials: send one"}
		}
		found = text
	}
	return found, nil
}
