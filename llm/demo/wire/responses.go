package wire

import (
	"encoding/json"

	"github.com/tollgate/tollgate/llm/vendor"
)

func jsonOr(text string, otherwise any) any {
	if json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	return otherwise
}

// response is the response object in a state: "in_progress" without its output, else with it.
func (a *Answer) response(status string) object {
	if a.Cut && status == "completed" {
		status = "incomplete"
	}
	body := object{
		"id": "resp_" + a.ID, "object": "response", "created_at": a.Created, "status": status, "model": a.Model,
		"background": false, "error": nil, "incomplete_details": nil, "instructions": nil, "max_output_tokens": nil, "metadata": object{},
		"output": []any{}, "parallel_tool_calls": true, "previous_response_id": nil, "reasoning": object{"effort": nil, "summary": nil},
		"store": false, "temperature": 1, "text": object{"format": object{"type": "text"}}, "tool_choice": "auto", "tools": []any{},
		"top_p": 1, "truncation": "disabled", "usage": nil,
	}
	if status == "in_progress" {
		return body
	}
	if status == "incomplete" {
		body["incomplete_details"] = object{"reason": "max_output_tokens"}
	}
	output := []object{}
	if len(a.Text) > 0 || len(a.Calls) == 0 {
		output = append(output, a.messageItem("completed", []object{outputText(a.text())}))
	}
	for _, c := range a.Calls {
		output = append(output, callItem(c, "completed", c.Arguments))
	}
	body["output"] = output
	if u := a.usage(vendor.Responses); u != nil {
		body["usage"] = u
	}
	return body
}

func outputText(text string) object {
	return object{"type": "output_text", "text": text, "annotations": []any{}, "logprobs": []any{}}
}

func (a *Answer) messageItem(status string, content []object) object {
	return object{"id": "msg_" + a.ID, "type": "message", "role": "assistant", "status": status, "content": content}
}

func callItem(c Call, status, arguments string) object {
	return object{"id": "fc_" + c.ID, "type": "function_call", "status": status, "call_id": c.ID, "name": c.Name, "arguments": arguments}
}

// responseEvents is the answer as the responses API streams it.
func (a *Answer) responseEvents() []Event {
	var out []Event
	event := func(name string, content bool, fields object) {
		fields["type"], fields["sequence_number"] = name, len(out)
		out = append(out, Event{Name: name, Data: encode(fields), Content: content})
	}
	event("response.created", false, object{"response": a.response("in_progress")})
	event("response.in_progress", false, object{"response": a.response("in_progress")})
	index := 0
	if len(a.Text) > 0 {
		at := func(fields object) object {
			fields["output_index"], fields["item_id"], fields["content_index"] = index, "msg_"+a.ID, 0
			return fields
		}
		event("response.output_item.added", false, object{"output_index": index, "item": a.messageItem("in_progress", []object{})})
		event("response.content_part.added", false, at(object{"part": outputText("")}))
		for _, piece := range a.Text {
			event("response.output_text.delta", true, at(object{"delta": piece, "logprobs": []any{}}))
		}
		event("response.output_text.done", false, at(object{"text": a.text(), "logprobs": []any{}}))
		event("response.content_part.done", false, at(object{"part": outputText(a.text())}))
		event("response.output_item.done", false, object{"output_index": index, "item": a.messageItem("completed", []object{outputText(a.text())})})
		index++
	}
	for _, c := range a.Calls {
		at := func(fields object) object {
			fields["output_index"], fields["item_id"] = index, "fc_"+c.ID
			return fields
		}
		event("response.output_item.added", false, object{"output_index": index, "item": callItem(c, "in_progress", "")})
		event("response.function_call_arguments.delta", true, at(object{"delta": c.Arguments}))
		event("response.function_call_arguments.done", false, at(object{"arguments": c.Arguments, "name": c.Name}))
		event("response.output_item.done", false, object{"output_index": index, "item": callItem(c, "completed", c.Arguments)})
		index++
	}
	end := "response.completed"
	if a.Cut {
		end = "response.incomplete"
	}
	event(end, false, object{"response": a.response("completed")})
	return out
}
