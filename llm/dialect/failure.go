package dialect

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/llm/vendor"
)

// messageBytesMax bounds what of a provider's error text is repeated in an error of our own.
const messageBytesMax = 2048

// reported is an error as any of the dialects writes it into a stream or a body.
type reported struct {
	Error    *errorBody `json:"error"`
	Response *struct {
		Error *errorBody `json:"error"`
	} `json:"response"`
	Message string          `json:"message"` // of responses' event "error", which is flat
	Code    json.RawMessage `json:"code"`
}

type errorBody struct {
	Type    string          `json:"type"`
	Message string          `json:"message"`
	Code    json.RawMessage `json:"code"` // a string, or a number at some vendors
}

// errorOf reads the error in an event that is known to be one.
func errorOf(data []byte) *Error {
	var r reported
	if err := json.Unmarshal(data, &r); err != nil {
		return &Error{Status: http.StatusBadGateway, Code: "upstream_error", Message: "the provider reported an error that cannot be read"}
	}
	body := r.Error
	if body == nil && r.Response != nil {
		body = r.Response.Error
	}
	if body == nil {
		body = &errorBody{Message: r.Message, Code: r.Code}
	}
	code := strings.Trim(string(body.Code), `"`)
	if code == "null" {
		code = ""
	}
	e := &Error{Status: statusOf(body.Type, code), Code: code, Message: body.Message}
	if e.Message == "" {
		e.Message = "the provider reported an error without a text"
	}
	if len(e.Message) > messageBytesMax {
		e.Message = strings.ToValidUTF8(e.Message[:messageBytesMax], "")
	}
	return e
}

// chatError reads a chunk that is an error; nil when it is none.
func chatError(data []byte) *Error {
	if !bytes.HasPrefix(data, []byte("{")) {
		return nil
	}
	inner := bytes.TrimLeft(data[1:], " \t\r\n")
	if bytes.HasPrefix(inner, []byte(`"error"`)) && member(data, "error") != 'n' {
		return errorOf(data)
	}
	return nil
}

// statuses are the HTTP statuses of what providers call their errors in a stream.
var statuses = []struct {
	word   string
	status int
}{
	{"overloaded", StatusOverloaded},
	{"rate_limit", http.StatusTooManyRequests},
	{"insufficient_quota", http.StatusTooManyRequests},
	{"too_many", http.StatusTooManyRequests},
	{"authentication", http.StatusUnauthorized},
	{"permission", http.StatusForbidden},
	{"not_found", http.StatusNotFound},
	{"too_large", http.StatusRequestEntityTooLarge},
	{"context_length", http.StatusBadRequest},
	{"content_filter", http.StatusBadRequest},
	{"invalid", http.StatusBadRequest},
	{"timeout", http.StatusGatewayTimeout},
	{"unavailable", http.StatusServiceUnavailable},
}

// statusOf maps the names a provider gave its error; the unknown is the provider's own fault.
func statusOf(typ, code string) int {
	if len(code) == 3 && code[0] >= '4' && code[0] <= '5' {
		if n := int(code[0]-'0')*100 + int(code[1]-'0')*10 + int(code[2]-'0'); http.StatusText(n) != "" || n == StatusOverloaded {
			return n
		}
	}
	for _, name := range []string{code, typ} {
		for _, s := range statuses {
			if strings.Contains(name, s.word) {
				return s.status
			}
		}
	}
	return http.StatusBadGateway
}

// chatContent reports whether a chunk says anything yet: a role alone or no choice at all does not. What cannot be read
// counts as content, since it is forwarded as it came.
func chatContent(data []byte) bool {
	var chunk struct {
		Choices []struct {
			Delta map[string]json.RawMessage `json:"delta"`
		} `json:"choices"`
	}
	if err := json.Unmarshal(data, &chunk); err != nil {
		return true
	}
	for _, choice := range chunk.Choices {
		for name, value := range choice.Delta {
			if v := string(value); name != "role" && v != "null" && v != `""` {
				return true
			}
		}
	}
	return false
}

// usageOnly reports whether a chunk has usage and no choice.
func usageOnly(data []byte) bool {
	var chunk struct {
		Choices []json.RawMessage `json:"choices"`
	}
	return json.Unmarshal(data, &chunk) == nil && len(chunk.Choices) == 0
}

// answerOf reads id and model of the answer that response.created announces. The event repeats the whole request, so it
// is scanned, not decoded.
func (f *Format) answerOf(data []byte) (id, model string) {
	var found [2]strictjson.Value
	if err := f.answer.Scan(data, strictjson.Limits{Depth: depthMax, Tokens: bodyTokensMax}, found[:]); err != nil {
		return "", ""
	}
	return shortText(data, found[0]), shortText(data, found[1])
}

// AnswerID is the name under which a provider keeps an answer that came as one body; "" when it keeps none.
func (f *Format) AnswerID(body []byte) string {
	var found [1]strictjson.Value
	if f.Dialect != vendor.Responses || f.whole.Scan(body, strictjson.Limits{Depth: depthMax, Tokens: bodyTokensMax}, found[:]) != nil {
		return ""
	}
	return shortText(body, found[0])
}

func shortText(doc []byte, v strictjson.Value) string {
	if v.Kind != '"' {
		return ""
	}
	s, err := strictjson.Unquote(v.In(doc))
	if err != nil || len(s) > ModelBytesMax {
		return ""
	}
	return s
}
