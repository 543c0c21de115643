package llmtest

import (
	"net/http"
	"strings"
	"time"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/llm/demo/wire"
)

// Script is how the fake answers one request. The zero Script answers well: "Hello", " world", and usage.
type Script struct {
	Status     int    // of an error answer; 0: 200
	RetryAfter string // header
	ErrorType  string // in the error's body; empty: one that fits Status
	Header     http.Header

	Text     []string // pieces; nil: "Hello", " world"
	Calls    []wire.Call
	Cut      bool               // the answer ends at its limit
	Usage    *ledger.Quantities // nil: UsualUsage
	RawUsage string             // any JSON in its place
	NoUsage  bool               // the provider reports none

	// Waits. A channel that is closed lets the answer go on, so that a test needs no clock; nil does not wait.
	BeforeHeader, BeforeContent, BeforeEnd <-chan struct{}
	Gap                                    time.Duration // between the pieces of a stream

	Fault   Fault
	After   int   // pieces of content before the fault comes
	Bytes   int64 // of a Huge body or an Endless stream, 0: 100 MB, for ever
	Gzip    bool
	CRLF    bool   // line ends of a stream
	Comment bool   // a keep-alive comment before each event
	Raw     []byte // a body in place of the answer, sent as ContentType
	// ContentType of Raw; empty: application/json.
	ContentType string
}

// Fault is a way to fail after the header was sent.
type Fault uint8

// The faults.
const (
	None          Fault = iota
	Stall               // say nothing more, keep the connection
	Break               // cut the connection between two events
	BreakInEvent        // cut it within one
	Quiet               // end without the dialect's end: no [DONE], no message_stop, no response.completed
	Malformed           // send an event that is no JSON, then go on
	Garbage             // send bytes that are nothing at all
	Endless             // never stop
	Huge                // a body, or an event, of Bytes
	Fail                // report an error as an event, and end
	UsageAnywhere       // chat: cumulative usage in every chunk
)

// usualText is what a Script that says nothing answers with.
var usualText = []string{"Hello", " world"}

// UsualUsage is the usage of a Script that names none.
func UsualUsage() ledger.Quantities {
	return ledger.Quantities{InputTokens: 10, OutputTokens: 2, Calls: 1}
}

// ByName returns the script that a model's name stands for, so that a test of the whole program needs no access to the
// fake: "fake" and "fake-…".
func ByName(model string) (Script, bool) {
	name, ok := strings.CutPrefix(model, "fake")
	if !ok {
		return Script{}, false
	}
	s, ok := named[strings.TrimPrefix(name, "-")]
	return s, ok
}

var named = map[string]Script{
	"":          {},
	"429":       {Status: http.StatusTooManyRequests, RetryAfter: "2"},
	"500":       {Status: http.StatusInternalServerError},
	"503":       {Status: http.StatusServiceUnavailable},
	"529":       {Status: 529},
	"401":       {Status: http.StatusUnauthorized},
	"400":       {Status: http.StatusBadRequest},
	"stall":     {Fault: Stall},
	"stall-mid": {Fault: Stall, After: 1},
	"break":     {Fault: Break, After: 1},
	"tear":      {Fault: BreakInEvent, After: 1},
	"quiet":     {Fault: Quiet, After: 2},
	"malformed": {Fault: Malformed, After: 1},
	"garbage":   {Fault: Garbage},
	"endless":   {Fault: Endless},
	"huge":      {Fault: Huge},
	"fail":      {Fault: Fail},
	"fail-mid":  {Fault: Fail, After: 1},
	"no-usage":  {NoUsage: true},
	"zero":      {Usage: &ledger.Quantities{}},
	"negative":  {RawUsage: `{"prompt_tokens":-5,"completion_tokens":-7,"input_tokens":-5,"output_tokens":-7,"total_tokens":-12}`},
	"absurd":    {RawUsage: `{"prompt_tokens":1e300,"completion_tokens":99999999999999999999,"input_tokens":1e300,"output_tokens":99999999999999999999}`},
	"gzip":      {Gzip: true},
}

func (s *Script) errorType() string {
	switch {
	case s.ErrorType != "":
		return s.ErrorType
	case s.Status == http.StatusTooManyRequests:
		return "rate_limit_error"
	case s.Status == http.StatusUnauthorized:
		return "authentication_error"
	case s.Status == 529:
		return "overloaded_error"
	case s.Status >= 500 || s.Status == 0:
		return "api_error"
	}
	return "invalid_request_error"
}
