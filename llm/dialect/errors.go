package dialect

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Error is a refusal or a failure on its way to a client, before it has a wire format.
type Error struct {
	Status  int    // HTTP status
	Code    string // OpenAI's error code
	Param   string // the member at fault, if one is
	Message string
	// RetryAfter is when to try again; 0: unknown.
	RetryAfter time.Duration
}

func (e *Error) Error() string { return e.Message }

func invalid(param, message string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: "invalid_request", Param: param, Message: message}
}

// openAIType is the error type that OpenAI's clients expect at a status.
func openAIType(status int) string {
	switch {
	case status == http.StatusUnauthorized:
		return "authentication_error"
	case status == http.StatusPaymentRequired:
		return "insufficient_quota"
	case status == http.StatusForbidden:
		return "permission_error"
	case status == http.StatusTooManyRequests:
		return "rate_limit_error"
	case status >= 500:
		return "server_error"
	}
	return "invalid_request_error"
}

// anthropicType is the error type that Anthropic's clients expect at a status.
func anthropicType(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusPaymentRequired:
		return "billing_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case http.StatusTooManyRequests:
		return "rate_limit_error"
	case http.StatusGatewayTimeout:
		return "timeout_error"
	case http.StatusServiceUnavailable, StatusOverloaded:
		return "overloaded_error"
	}
	if status >= 500 {
		return "api_error"
	}
	return "invalid_request_error"
}

// StatusOverloaded is Anthropic's status for a provider that has more work than it can do.
const StatusOverloaded = 529

// AppendBody appends e as the body of an error answer in f's wire format.
func (f Family) AppendBody(b []byte, e *Error) []byte {
	if f == Anthropic {
		b = append(b, `{"type":"error","error":{"type":"`...)
		b = append(b, anthropicType(e.Status)...)
		b = append(b, `","message":`...)
		return append(append(b, quote(e.Message)...), "}}"...)
	}
	b = append(b, `{"error":`...)
	return append(appendOpenAI(b, e), '}')
}

func appendOpenAI(b []byte, e *Error) []byte {
	b = append(append(b, `{"message":`...), quote(e.Message)...)
	b = append(append(b, `,"type":"`...), openAIType(e.Status)...)
	b = append(b, `","param":`...)
	b = appendOrNull(b, e.Param)
	b = append(b, `,"code":`...)
	return append(appendOrNull(b, e.Code), '}')
}

func appendOrNull(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return append(b, quote(s)...)
}

// Write answers with e in f's wire format.
func (f Family) Write(w http.ResponseWriter, e *Error) {
	body := f.AppendBody(nil, e)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((e.RetryAfter+time.Second-1)/time.Second), 10))
	}
	w.WriteHeader(e.Status)
	_, _ = w.Write(body) // whoever asked is gone: nobody is left to tell
}

// quote writes s as a JSON string. Invalid UTF-8 becomes U+FFFD.
func quote(s string) []byte {
	if !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c > '~' || c == '"' || c == '\\' }) {
		return append(append(append(make([]byte, 0, len(s)+2), '"'), s...), '"')
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string into a buffer cannot fail
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
