package edge

import (
	"net/http"
	"time"
)

// Problem is a refusal by the edge. Its text is made for the caller and says how to mend the request.
type Problem struct {
	Status int // HTTP status
	Text   string
}

func (p *Problem) Error() string { return p.Text }

// Guard checks what must hold of every request. Immutable, safe for concurrent use.
type Guard struct {
	Hosts   []string // allowed Host header values, without port, lower case; loopback names are always allowed on a loopback listener
	Origins []string // allowed Origin values; loopback origins of an allowed host are always allowed
}

// Check returns nil or why the request is refused: 403 for Host and Origin, 400 for two Authorization headers, two
// different credentials, or CR, LF or NUL in a header, 415 for a Content-Encoding.
func (g *Guard) Check(r *http.Request) *Problem { return nil }

// Limits of [Body].
type Limits struct {
	Bytes   int64         // default 4 MiB
	Timeout time.Duration // for the whole body; default 30 s
}

// Body reads r's body whole. The content type must be application/json (a charset parameter must be utf-8): else 415.
// Too large: 413. Too slow: 408. Shorter than its Content-Length: 400. It closes the body.
func Body(w http.ResponseWriter, r *http.Request, lim Limits) ([]byte, *Problem) { return nil, nil }
