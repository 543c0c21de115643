package demo

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/tollgate/tollgate/llm/demo/wire"
)

// signature ends every answer, so that nobody takes the demo for a model.
const signature = " (This is Tollgate's demo model: a small program, not a language model.)"

// echoMax bounds what is repeated of the user's words.
const echoMax = 400

// reply is what the demo has to say to the last turn: a text, and a tool call if one is asked for.
func reply(req *request, now time.Time) (string, *wire.Call) {
	last := lastSaid(req.turns)
	if last.role == "tool" {
		name := last.called
		if name == "" {
			name = "the tool"
		}
		return fmt.Sprintf("%s answered: %s%s", name, shorten(last.text), signature), nil
	}
	if call := callFor(req, last.text); call != nil {
		return "I call " + call.Name + ", as you asked.", call
	}
	lower := strings.ToLower(last.text)
	if expression, value, ok := arithmetic(last.text); ok {
		return fmt.Sprintf("%s = %s.%s", expression, value, signature), nil
	}
	switch {
	case wordAt(lower, "time") >= 0 || wordAt(lower, "date") >= 0:
		return "It is " + now.UTC().Format("Monday, 2 January 2006, 15:04:05 UTC") + "." + signature, nil
	case lower == "hi", strings.HasPrefix(lower, "hello"), strings.HasPrefix(lower, "hi "):
		return "Hello! Ask me for the time, for 6 * 7, or to call a tool." + signature, nil
	}
	return fmt.Sprintf("You said: %q. I can tell the time, do arithmetic such as 6 * 7, and call a tool that you offer: %s.%s",
		shorten(last.text), howToCall(req), signature), nil
}

// lastSaid is the last turn that is the user's or a tool's.
func lastSaid(turns []turn) turn {
	for i := len(turns) - 1; i >= 0; i-- {
		if turns[i].role == "user" || turns[i].role == "tool" {
			return turns[i]
		}
	}
	return turns[len(turns)-1]
}

func shorten(text string) string {
	text = strings.TrimSpace(text)
	if len(text) > echoMax {
		return strings.ToValidUTF8(text[:echoMax], "") + "…"
	}
	return text
}

func howToCall(req *request) string {
	for i := range req.Tools {
		if name, _, _ := req.Tools[i].parts(); name != "" {
			return "say call " + name + ` {"its": "arguments"}`
		}
	}
	return "you offer none now"
}

// callFor is the call that text asks for: the word call, the name of a tool on offer, and what follows as its arguments, a
// JSON object or words for the first parameter that is required. A name alone calls nothing: agents' reminders are full of
// them.
func callFor(req *request, text string) *wire.Call {
	var found *wire.Call
	longest := 0
	for i := range req.Tools {
		name, _, s := req.Tools[i].parts()
		at := max(wordAt(text, "call "+name), wordAt(text, "Call "+name))
		if name == "" || at < 0 || len(name) <= longest {
			continue
		}
		longest = len(name)
		found = &wire.Call{Name: name, Arguments: arguments(text[at+len("call ")+len(name):], s)}
	}
	return found
}

// wordAt returns where name stands in text as a word of its own, or -1.
func wordAt(text, name string) int {
	for from := 0; name != ""; {
		i := strings.Index(text[from:], name)
		if i < 0 {
			return -1
		}
		i += from
		end := i + len(name)
		if (i == 0 || !nameByte(text[i-1])) && (end == len(text) || !nameByte(text[end])) {
			return i
		}
		from = i + 1
	}
	return -1
}

func nameByte(c byte) bool {
	return c == '_' || c == '-' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// arguments makes a tool's arguments of the words behind its name.
func arguments(rest string, s schema) string {
	rest = strings.TrimSpace(rest)
	if strings.HasPrefix(rest, "{") {
		var object json.RawMessage
		if err := json.NewDecoder(strings.NewReader(rest)).Decode(&object); err == nil {
			return string(object)
		}
	}
	args := map[string]any{}
	rest = strings.TrimSpace(strings.TrimPrefix(strings.TrimLeft(rest, " :"), "with "))
	if len(s.Required) > 0 && rest != "" && s.Properties[s.Required[0]].Type == "string" {
		args[s.Required[0]] = strings.Trim(rest, `"'`)
	}
	b, err := json.Marshal(args)
	if err != nil {
		return "{}" // strings always marshal
	}
	return string(b)
}
