package demo

import (
	"encoding/json"
	"strings"

	"github.com/tollgate/tollgate/llm/vendor"
)

// request is what the demo understands of a request in any of the dialects.
type request struct {
	Model         string `json:"model"`
	Stream        bool   `json:"stream"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
	MaxTokens           int    `json:"max_tokens"`
	MaxCompletionTokens int    `json:"max_completion_tokens"`
	MaxOutputTokens     int    `json:"max_output_tokens"`
	Previous            string `json:"previous_response_id"`

	Messages     []message       `json:"messages"`
	Input        json.RawMessage `json:"input"`
	System       content         `json:"system"`
	Instructions string          `json:"instructions"`
	Tools        []tool          `json:"tools"`

	turns []turn // in order, whatever the dialect
}

// turn is one thing that was said.
type turn struct {
	role   string // "user", "assistant", "system" or "tool"
	text   string
	called string // of a tool's answer: the name of the tool, where it is known
}

// message is a message of chat or messages, or an item of a response's input.
type message struct {
	Type    string  `json:"type"`
	Role    string  `json:"role"`
	Content content `json:"content"`

	Name      string  `json:"name"`
	CallID    string  `json:"call_id"`
	ToolCall  string  `json:"tool_call_id"`
	Arguments string  `json:"arguments"`
	Output    content `json:"output"`
	ToolCalls []struct {
		ID       string `json:"id"`
		Function struct {
			Name      string `json:"name"`
			Arguments string `json:"arguments"`
		} `json:"function"`
	} `json:"tool_calls"`
	Tools []tool `json:"tools"` // of additional_tools
}

// content is text as dialects write it: a string, or a list of parts.
type content []part

type part struct {
	Type    string          `json:"type"`
	Text    string          `json:"text"`
	ID      string          `json:"id"`   // of tool_use
	Name    string          `json:"name"` // of tool_use
	Input   json.RawMessage `json:"input"`
	CallID  string          `json:"tool_use_id"`
	Content content         `json:"content"` // of tool_result
}

func (c *content) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		*c = content{{Type: "text", Text: text}}
		return nil
	}
	var parts []part
	if err := json.Unmarshal(b, &parts); err != nil {
		return err
	}
	*c = parts
	return nil
}

// text joins what is text in c.
func (c content) text() string {
	var b strings.Builder
	for _, p := range c {
		if p.Text == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.Text)
	}
	return b.String()
}

// tool is a tool on offer: chat wraps it in function, messages calls its schema input_schema.
type tool struct {
	Type        string `json:"type"`
	Name        string `json:"name"`
	Description string `json:"description"`
	Function    *struct {
		Name        string `json:"name"`
		Description string `json:"description"`
		Parameters  schema `json:"parameters"`
	} `json:"function"`
	Parameters  schema `json:"parameters"`
	InputSchema schema `json:"input_schema"`
}

type schema struct {
	Properties map[string]struct {
		Type any `json:"type"`
	} `json:"properties"`
	Required []string `json:"required"`
}

// parse reads a request of d.
func parse(d vendor.Dialect, body []byte) (*request, error) {
	req := &request{}
	if err := unmarshal(body, req); err != nil {
		return nil, err
	}
	if req.Previous != "" {
		return nil, badRequest("the demo model keeps no answers: send the conversation in input instead of previous_response_id")
	}
	called := map[string]string{}
	req.say("system", req.System.text())
	req.say("system", req.Instructions)
	if d == vendor.Responses {
		if err := req.readInput(called); err != nil {
			return nil, err
		}
	}
	for i := range req.Messages {
		req.readMessage(&req.Messages[i], called)
	}
	if len(req.turns) == 0 {
		return nil, badRequest("the request says nothing: send messages, or input")
	}
	return req, nil
}

// readInput reads the input of a response: a text, or items.
func (r *request) readInput(called map[string]string) error {
	var text string
	if json.Unmarshal(r.Input, &text) == nil {
		r.say("user", text)
		return nil
	}
	var items []message
	if err := unmarshal(r.Input, &items); err != nil {
		return err
	}
	for i := range items {
		r.readMessage(&items[i], called)
	}
	return nil
}

func (r *request) readMessage(m *message, called map[string]string) {
	switch {
	case m.Type == "function_call":
		called[m.CallID] = m.Name
		r.say("assistant", m.Arguments)
		return
	case m.Type == "function_call_output":
		r.turns = append(r.turns, turn{"tool", m.Output.text(), called[m.CallID]})
		return
	case m.Type == "additional_tools":
		r.Tools = append(r.Tools, m.Tools...)
		return
	case m.Role == "tool":
		r.turns = append(r.turns, turn{"tool", m.Content.text(), called[m.ToolCall]})
		return
	}
	for _, c := range m.ToolCalls {
		called[c.ID] = c.Function.Name
		r.say(m.Role, c.Function.Arguments)
	}
	for _, p := range m.Content {
		switch p.Type {
		case "tool_use":
			called[p.ID] = p.Name
			r.say(m.Role, string(p.Input))
		case "tool_result":
			r.turns = append(r.turns, turn{"tool", p.Content.text(), called[p.CallID]})
		default: // each part is a turn: clients put reminders of their own before what the user said
			r.say(m.Role, p.Text)
		}
	}
}

func (r *request) say(role, text string) {
	if text != "" {
		r.turns = append(r.turns, turn{role: role, text: text})
	}
}

// askedUsage reports whether a stream ends with usage. It matters to chat alone.
func (r *request) askedUsage() bool { return r.StreamOptions.IncludeUsage }

// limit is the caller's limit on output, 0 for none.
func (r *request) limit() int {
	return max(r.MaxTokens, r.MaxCompletionTokens, r.MaxOutputTokens)
}

// tokens counts all text of the request, the tools on offer among it.
func (r *request) tokens() int {
	n := 0
	for _, t := range r.turns {
		n += len(pieces(t.text))
	}
	for i := range r.Tools {
		name, description, s := r.Tools[i].parts()
		n += len(pieces(name)) + len(pieces(description))
		for property := range s.Properties {
			n += len(pieces(property)) + 1
		}
	}
	return n
}

// parts returns what a tool is, wherever its dialect writes it.
func (t *tool) parts() (name, description string, s schema) {
	switch {
	case t.Function != nil:
		return t.Function.Name, t.Function.Description, t.Function.Parameters
	case len(t.InputSchema.Properties) > 0:
		return t.Name, t.Description, t.InputSchema
	}
	return t.Name, t.Description, t.Parameters
}
