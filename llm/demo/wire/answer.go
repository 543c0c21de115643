package wire

import (
	"encoding/json"
	"fmt"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/llm/vendor"
)

// Answer is what a model says, before it has a dialect.
type Answer struct {
	ID      string // the part behind the dialect's own prefix
	Model   string
	Created int64    // Unix seconds
	Text    []string // in the pieces a stream brings it in
	Calls   []Call   // tools to be run by the client
	Cut     bool     // it ends because its limit was reached

	// Usage is written as the dialect counts; nil leaves it out. RawUsage replaces it by any JSON, to be wrong on purpose.
	Usage    *ledger.Quantities
	RawUsage string
	// AskedUsage says whether a chat stream was asked to end with its usage.
	AskedUsage bool
}

// Call is a tool call.
type Call struct {
	ID, Name  string
	Arguments string // JSON
}

// Event is one event of a stream.
type Event struct {
	Name    string // of the event; empty in chat
	Data    []byte
	Content bool // the model said something in it
}

// Append writes e in the form of server-sent events.
func (e Event) Append(b []byte) []byte {
	if e.Name != "" {
		b = append(append(append(b, "event: "...), e.Name...), '\n')
	}
	return append(append(append(b, "data: "...), e.Data...), "\n\n"...)
}

// object is a JSON object being built.
type object = map[string]any

// encode writes v, which holds nothing that JSON cannot say.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("wire: %v", err)) // only a value of a kind this package does not build gets here
	}
	return b
}

func (a *Answer) text() string {
	text := ""
	for _, piece := range a.Text {
		text += piece
	}
	return text
}

// ending is why the answer ends, in the words of a dialect.
func (a *Answer) ending(limit, calls, end string) string {
	switch {
	case a.Cut:
		return limit
	case len(a.Calls) > 0:
		return calls
	}
	return end
}

// Body returns the whole answer in d, which is Chat, Responses or Messages.
func (a *Answer) Body(d vendor.Dialect) []byte {
	switch d {
	case vendor.Responses:
		return encode(a.response("completed"))
	case vendor.Messages:
		return encode(a.message())
	}
	return encode(a.completion())
}

// Events returns the answer as a stream in d.
func (a *Answer) Events(d vendor.Dialect) []Event {
	switch d {
	case vendor.Responses:
		return a.responseEvents()
	case vendor.Messages:
		return a.messageEvents()
	}
	return a.chunks()
}

// usage returns q in the form of d, or the raw text in its place, or nil.
func (a *Answer) usage(d vendor.Dialect) any {
	switch {
	case a.RawUsage != "":
		return json.RawMessage(a.RawUsage)
	case a.Usage == nil:
		return nil
	}
	return Usage(d, a.Usage)
}

// Usage writes quantities as d counts them: what package usage reads back is q again.
func Usage(d vendor.Dialect, q *ledger.Quantities) any {
	cached := q.CacheReadTokens + q.CacheWriteTokens + q.CacheWrite1hTokens
	input := q.InputTokens + cached + q.AudioInputTokens
	output := q.OutputTokens + q.ReasoningTokens + q.AudioOutputTokens + q.ImageTokens
	inputDetails := object{"cached_tokens": q.CacheReadTokens, "cache_write_tokens": q.CacheWriteTokens, "audio_tokens": q.AudioInputTokens}
	outputDetails := object{"reasoning_tokens": q.ReasoningTokens, "audio_tokens": q.AudioOutputTokens, "image_tokens": q.ImageTokens}
	switch d {
	case vendor.Messages:
		return object{
			"input_tokens": q.InputTokens, "cache_read_input_tokens": q.CacheReadTokens,
			"cache_creation_input_tokens": q.CacheWriteTokens + q.CacheWrite1hTokens,
			"cache_creation":              object{"ephemeral_5m_input_tokens": q.CacheWriteTokens, "ephemeral_1h_input_tokens": q.CacheWrite1hTokens},
			"output_tokens":               output, "server_tool_use": object{"web_search_requests": q.WebSearches}, "service_tier": "standard",
		}
	case vendor.Responses:
		return object{"input_tokens": input, "input_tokens_details": inputDetails, "output_tokens": output, "output_tokens_details": outputDetails, "total_tokens": input + output}
	case vendor.Embeddings:
		return object{"prompt_tokens": input, "total_tokens": input}
	}
	return object{"prompt_tokens": input, "prompt_tokens_details": inputDetails, "completion_tokens": output, "completion_tokens_details": outputDetails, "total_tokens": input + output}
}

// Embeddings returns the body of an embeddings answer. Vectors of base64 are the caller's: each is a []float64 or a string.
func Embeddings(model string, vectors []any, q *ledger.Quantities) []byte {
	data := make([]object, len(vectors))
	for i, v := range vectors {
		data[i] = object{"object": "embedding", "index": i, "embedding": v}
	}
	return encode(object{"object": "list", "data": data, "model": model, "usage": Usage(vendor.Embeddings, q)})
}

// Models returns a list of models that clients of both families can read.
func Models(owner string, ids ...string) []byte {
	data := make([]object, len(ids))
	for i, id := range ids {
		data[i] = object{"id": id, "object": "model", "created": 0, "owned_by": owner, "type": "model", "display_name": id, "created_at": "1970-01-01T00:00:00Z"}
	}
	list := object{"object": "list", "data": data, "has_more": false, "first_id": nil, "last_id": nil}
	if len(ids) > 0 {
		list["first_id"], list["last_id"] = ids[0], ids[len(ids)-1]
	}
	return encode(list)
}

// Error returns the body of an error answer in d's family. kind is the error's type, "rate_limit_error".
func Error(d vendor.Dialect, kind, message string) []byte {
	switch d {
	case vendor.Messages, vendor.CountTokens:
		return encode(object{"type": "error", "error": object{"type": kind, "message": message}})
	}
	return encode(object{"error": object{"message": message, "type": kind, "param": nil, "code": nil}})
}

// Failure is the event that ends a stream of d with an error.
func Failure(d vendor.Dialect, kind, message string) Event {
	switch d {
	case vendor.Messages:
		return Event{Name: "error", Data: Error(d, kind, message)}
	case vendor.Responses:
		return Event{Name: "error", Data: encode(object{"type": "error", "code": kind, "message": message, "param": nil, "sequence_number": 99})}
	}
	return Event{Data: Error(d, kind, message)}
}
