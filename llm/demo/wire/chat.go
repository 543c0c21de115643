package wire

import (
	"github.com/tollgate/tollgate/llm/vendor"
)

func (a *Answer) completion() object {
	message := object{"role": "assistant", "content": a.text(), "refusal": nil, "annotations": []any{}}
	if len(a.Calls) > 0 {
		calls := make([]object, len(a.Calls))
		for i, c := range a.Calls {
			calls[i] = object{"id": c.ID, "type": "function", "function": object{"name": c.Name, "arguments": c.Arguments}}
		}
		message["tool_calls"] = calls
	}
	body := object{
		"id": "chatcmpl-" + a.ID, "object": "chat.completion", "created": a.Created, "model": a.Model,
		"choices": []object{{"index": 0, "message": message, "logprobs": nil, "finish_reason": a.ending("length", "tool_calls", "stop")}},
	}
	if u := a.usage(vendor.Chat); u != nil {
		body["usage"] = u
	}
	return body
}

// chunks is the answer as chat streams it: role, pieces, the finish, the usage when it was asked for, [DONE].
func (a *Answer) chunks() []Event {
	chunk := func(choices []object, usage any) []byte {
		c := object{"id": "chatcmpl-" + a.ID, "object": "chat.completion.chunk", "created": a.Created, "model": a.Model, "choices": choices}
		if a.AskedUsage {
			c["usage"] = usage
		}
		return encode(c)
	}
	delta := func(d object, finish any) []byte {
		return chunk([]object{{"index": 0, "delta": d, "logprobs": nil, "finish_reason": finish}}, nil)
	}
	out := []Event{{Data: delta(object{"role": "assistant", "content": ""}, nil)}}
	for _, piece := range a.Text {
		out = append(out, Event{Data: delta(object{"content": piece}, nil), Content: true})
	}
	for i, c := range a.Calls {
		start := object{"index": i, "id": c.ID, "type": "function", "function": object{"name": c.Name, "arguments": ""}}
		rest := object{"index": i, "function": object{"arguments": c.Arguments}}
		for _, part := range []object{start, rest} {
			out = append(out, Event{Data: delta(object{"tool_calls": []object{part}}, nil), Content: true})
		}
	}
	out = append(out, Event{Data: delta(object{}, a.ending("length", "tool_calls", "stop"))})
	if u := a.usage(vendor.Chat); u != nil && a.AskedUsage {
		out = append(out, Event{Data: chunk([]object{}, u)})
	}
	return append(out, Event{Data: []byte("[DONE]")})
}

func (a *Answer) message() object {
	content := []object{}
	if text := a.text(); text != "" || len(a.Calls) == 0 {
		content = append(content, object{"type": "text", "text": text, "citations": nil})
	}
	for _, c := range a.Calls {
		content = append(content, object{"type": "tool_use", "id": c.ID, "name": c.Name, "input": raw(c.Arguments)})
	}
	body := object{
		"id": "msg_" + a.ID, "type": "message", "role": "assistant", "model": a.Model, "content": content,
		"stop_reason": a.ending("max_tokens", "tool_use", "end_turn"), "stop_sequence": nil,
	}
	if u := a.usage(vendor.Messages); u != nil {
		body["usage"] = u
	}
	return body
}

// messageEvents is the answer as Anthropic streams it. The input is counted in the first event, the output in the last.
func (a *Answer) messageEvents() []Event {
	var out []Event
	event := func(name string, content bool, fields object) {
		fields["type"] = name
		out = append(out, Event{Name: name, Data: encode(fields), Content: content})
	}
	start := a.message()
	start["content"], start["stop_reason"] = []any{}, nil
	if a.Usage != nil && a.RawUsage == "" {
		first := *a.Usage
		first.OutputTokens, first.ReasoningTokens, first.WebSearches = 1, 0, 0
		start["usage"] = Usage(vendor.Messages, &first)
	}
	event("message_start", false, object{"message": start})
	index := 0
	block := func(begin object, deltas []object) {
		event("content_block_start", false, object{"index": index, "content_block": begin})
		if index == 0 {
			event("ping", false, object{})
		}
		for _, d := range deltas {
			event("content_block_delta", true, object{"index": index, "delta": d})
		}
		event("content_block_stop", false, object{"index": index})
		index++
	}
	if len(a.Text) > 0 {
		deltas := make([]object, len(a.Text))
		for i, piece := range a.Text {
			deltas[i] = object{"type": "text_delta", "text": piece}
		}
		block(object{"type": "text", "text": ""}, deltas)
	}
	for _, c := range a.Calls {
		block(object{"type": "tool_use", "id": c.ID, "name": c.Name, "input": object{}}, []object{{"type": "input_json_delta", "partial_json": c.Arguments}})
	}
	last := object{"delta": object{"stop_reason": a.ending("max_tokens", "tool_use", "end_turn"), "stop_sequence": nil}}
	if u := a.usage(vendor.Messages); u != nil {
		last["usage"] = u
	}
	event("message_delta", false, last)
	event("message_stop", false, object{})
	return out
}

// raw is a tool call's arguments as a value; what is no JSON becomes a string.
func raw(arguments string) any {
	if arguments == "" {
		return object{}
	}
	return jsonOr(arguments, arguments)
}
