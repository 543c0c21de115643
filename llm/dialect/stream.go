package dialect

import (
	"bytes"
	"strconv"

	"github.com/tollgate/tollgate/llm/vendor"
)

// Kind is what a frame of a stream means to the proxy.
type Kind uint8

// The kinds of frames. Until the first that is not Lifecycle nothing has been said, so another target can still be asked.
const (
	Lifecycle Kind = iota // the stream has begun, the provider is alive
	Content               // part of the answer
	Failure               // the provider reports that it cannot go on
	End                   // the answer is whole
)

// Frame is what one event of a stream means.
type Frame struct {
	Kind   Kind
	Hidden bool   // made because we asked for it: the client did not
	Err    *Error // of a Failure, as an HTTP answer would have said it
}

// Stream reads the frames of one answer. Not safe for concurrent use.
type Stream struct {
	format    *Format
	hideUsage bool
	begun     bool // content was seen
	whole     bool // what ends an answer was seen
	frames    int
	id, model string // of the answer, as the provider named them
}

// Stream begins to read an answer in f. hideUsage: the client did not ask for the usage that we asked for.
func (f *Format) Stream(hideUsage bool) Stream { return Stream{format: f, hideUsage: hideUsage} }

// Read takes the next event. name and data are not kept.
func (s *Stream) Read(name, data []byte) Frame {
	if data == nil { // a comment
		return Frame{Kind: Lifecycle}
	}
	frame := s.format.lines(s, name, data)
	s.frames++
	switch frame.Kind {
	case Content:
		s.begun = true
	case End:
		s.begun, s.whole = true, true
	}
	return frame
}

// Whole reports whether the answer has been said to its end; a stream that ends before is broken.
func (s *Stream) Whole() bool { return s.whole }

// ID is the provider's name for a kept answer, "" when it gave none.
func (s *Stream) ID() string { return s.id }

// AppendError appends the frames that end a stream with e in the middle of an answer.
func (s *Stream) AppendError(b []byte, e *Error) []byte {
	switch s.format.Dialect {
	case vendor.Messages:
		b = append(b, "event: error\ndata: "...)
		return append(s.format.Family.AppendBody(b, e), "\n\n"...)
	case vendor.Responses:
		return s.appendFailed(b, e)
	}
	b = append(b, "data: "...) // and no [DONE]: that would say the answer was whole
	return append(s.format.Family.AppendBody(b, e), "\n\n"...)
}

// appendFailed appends response.failed: the one ending that clients of this dialect read as an error of the answer they
// have seen so far.
func (s *Stream) appendFailed(b []byte, e *Error) []byte {
	b = append(b, "event: response.failed\ndata: {\"type\":\"response.failed\",\"sequence_number\":"...)
	b = strconv.AppendInt(b, int64(s.frames), 10)
	b = append(append(b, `,"response":{"id":`...), quote(s.id)...)
	b = append(b, `,"object":"response","status":"failed","error":{"code":`...)
	code := e.Code
	if code == "" {
		code = openAIType(e.Status)
	}
	b = append(append(b, quote(code)...), `,"message":`...)
	b = append(append(b, quote(e.Message)...), `},"incomplete_details":null,"model":`...)
	return append(append(b, quote(s.model)...), ",\"output\":[],\"usage\":null}}\n\n"...)
}

// chatFrame reads chat chunks: they have no names, so the first ones are read as JSON and the others by their marks.
func chatFrame(s *Stream, _, data []byte) Frame {
	trimmed := bytes.TrimSpace(data)
	if string(trimmed) == "[DONE]" {
		return Frame{Kind: End}
	}
	if e := chatError(trimmed); e != nil {
		return Frame{Kind: Failure, Err: e}
	}
	if member(data, "finish_reason") == '"' {
		s.whole = true // some servers never say [DONE]
		return Frame{Kind: Content}
	}
	if member(data, "usage") == '{' && usageOnly(data) {
		return Frame{Kind: Lifecycle, Hidden: s.hideUsage}
	}
	if !s.begun && !chatContent(data) {
		return Frame{Kind: Lifecycle}
	}
	return Frame{Kind: Content}
}

func messagesFrame(_ *Stream, name, data []byte) Frame {
	if len(name) == 0 {
		name = typeOf(data)
	}
	switch string(name) {
	case "message_start", "ping":
		return Frame{Kind: Lifecycle}
	case "message_stop":
		return Frame{Kind: End}
	case "error":
		return Frame{Kind: Failure, Err: errorOf(data)}
	}
	return Frame{Kind: Content}
}

func responsesFrame(s *Stream, name, data []byte) Frame {
	if len(name) == 0 {
		name = typeOf(data)
	}
	switch string(name) {
	case "response.created":
		s.id, s.model = s.format.answerOf(data)
		return Frame{Kind: Lifecycle}
	case "response.in_progress", "response.queued", "keepalive":
		return Frame{Kind: Lifecycle}
	case "response.completed", "response.incomplete":
		return Frame{Kind: End}
	case "response.failed", "error":
		return Frame{Kind: Failure, Err: errorOf(data)}
	}
	return Frame{Kind: Content}
}

// member returns the first byte of the value of the first member called name, wherever it stands; 0 when there is none.
// Inside a JSON string the quotes around a name are escaped, so text is not taken for a member.
func member(data []byte, name string) byte {
	for {
		i := bytes.Index(data, []byte(name))
		if i < 0 {
			return 0
		}
		quoted := i > 0 && data[i-1] == '"'
		data = data[i+len(name):]
		if !quoted || len(data) == 0 || data[0] != '"' {
			continue
		}
		rest := bytes.TrimLeft(data[1:], " \t\r\n")
		if len(rest) == 0 || rest[0] != ':' {
			continue
		}
		if rest = bytes.TrimLeft(rest[1:], " \t\r\n"); len(rest) > 0 {
			return rest[0]
		}
	}
}

// typeOf is the type member of an event that came without a name.
func typeOf(data []byte) []byte {
	_, rest, found := bytes.Cut(data, []byte(`"type"`))
	if !found {
		return nil
	}
	rest = bytes.TrimLeft(rest, " \t\r\n:")
	if len(rest) == 0 || rest[0] != '"' {
		return nil
	}
	name, _, _ := bytes.Cut(rest[1:], []byte{'"'})
	return name
}
