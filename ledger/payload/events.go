package payload

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/tollgate/tollgate/internal/sse"
	"github.com/tollgate/tollgate/internal/strictjson"
)

// growing are the members of events that models send text in piece by piece: a name or number that is cut in two by the
// pieces is found in none of them, so they are put together before anything is looked for.
var growing = []string{
	"content", "text", "delta", "partial_json", "arguments", "thinking", "reasoning", "reasoning_content", "refusal", "transcript", "output", "input",
}

// numbering are the members that say which of several texts a piece belongs to.
var numbering = []string{"index", "output_index", "content_index", "summary_index", "item_id"}

const (
	// placeBytesMax bounds how a place in an event is spelt: those of models have some tens. Each text in a long one would
	// repeat it.
	placeBytesMax = 1024
	// joinedBytesMax bounds what a stream comes to, places and texts, which may be more than the stream itself.
	joinedBytesMax = partBytesMax
)

// isEvents reports whether text is a stream of server-sent events.
func isEvents(text []byte) bool {
	return !isJSON(text) && (bytes.HasPrefix(text, []byte("data:")) || bytes.HasPrefix(text, []byte("event:")) || bytes.Contains(text, []byte("\ndata:")))
}

// joined is what a stream comes to: the texts of its events by where they stand in them.
type joined struct {
	order []string
	texts map[string]*strings.Builder
	bytes int  // of places and texts, with those that were replaced
	cut   bool // there was more
}

// joinEvents writes a stream as one JSON object: each text under its place, with those that grow put together and of the
// others the last. It reports false when the stream ends within an event, has one that is no JSON, or comes to more than is
// kept: the rest is left out.
func joinEvents(stream []byte) (out []byte, whole bool) {
	j := joined{texts: map[string]*strings.Builder{}}
	events := sse.NewReader(bytes.NewReader(stream), len(stream)+1)
	whole = true
	for {
		e, err := events.Next()
		if err != nil {
			return j.object(), whole && !j.cut && errors.Is(err, io.EOF) && len(e.Raw) == 0
		}
		if len(e.Data) == 0 || string(e.Data) == "[DONE]" {
			continue
		}
		dec := json.NewDecoder(bytes.NewReader(e.Data))
		dec.UseNumber()
		var v any
		if dec.Decode(&v) != nil {
			whole = false
			continue
		}
		j.add("", "", v)
	}
}

// add takes the texts of a value that stands at a place, in a member of this name.
func (j *joined) add(at, name string, v any) {
	if len(at) > placeBytesMax || j.bytes > joinedBytesMax {
		j.cut = true
		return
	}
	switch v := v.(type) {
	case map[string]any:
		for _, n := range numbering {
			if number, ok := v[n]; ok {
				at += "#" + plainText(number)
			}
		}
		names := make([]string, 0, len(v))
		for n := range v {
			names = append(names, n)
		}
		slices.Sort(names)
		for _, n := range names {
			j.add(at+"."+n, n, v[n])
		}
	case []any:
		for i, item := range v {
			place := "." + strconv.Itoa(i)
			if o, ok := item.(map[string]any); ok && o["index"] != nil {
				place = "" // it says its place itself
			}
			j.add(at+place, name, item)
		}
	case string:
		j.write(at, v, slices.Contains(growing, name))
	case json.Number:
		j.write(at, v.String(), false)
	}
}

// write takes a text: behind what stands at its place when that grows, else instead of it.
func (j *joined) write(at, text string, grows bool) {
	b := j.texts[at]
	if b == nil {
		b = &strings.Builder{}
		j.texts[at] = b
		j.order = append(j.order, at)
		j.bytes += len(at)
	}
	if !grows {
		b.Reset()
	}
	b.WriteString(text)
	j.bytes += len(text)
}

func plainText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return "?"
}

func (j *joined) object() []byte {
	out := []byte{'{'}
	for i, at := range j.order {
		if i > 0 {
			out = append(out, ',')
		}
		out = strictjson.Quote(out, strings.TrimPrefix(at, "."))
		out = strictjson.Quote(append(out, ':'), j.texts[at].String())
	}
	return append(out, '}')
}
