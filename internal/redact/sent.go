package redact

import (
	"bytes"
	"net/http"
	"strings"
)

// Sent masks in text the credentials that were sent in these headers, with or without the scheme before them: an upstream
// may repeat in an error what it was sent, and an error goes to the caller.
func Sent(text []byte, credentials http.Header) []byte {
	for _, values := range credentials {
		for _, value := range values {
			if _, bare, ok := strings.Cut(value, " "); ok {
				value = bare
			}
			if len(value) >= knownCharsMin {
				text = bytes.ReplaceAll(text, []byte(value), []byte(masked))
			}
		}
	}
	return text
}
