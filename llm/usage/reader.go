package usage

import (
	"bytes"

	"github.com/tollgate/tollgate/llm/vendor"
)

// Reader takes the usage out of one answer. Feed it the whole body, or each event's data in order; then ask Result. The
// zero value is not ready: use NewReader. Not safe for concurrent use.
type Reader struct {
	dialect vendor.Dialect
	counts  counts
	text    int64 // bytes of what the model wrote
	service string
	ran     int64 // provider-run searches seen going by
}

// NewReader returns a Reader of answers in d. It is a value so that a proxy can keep it in its own state.
func NewReader(d vendor.Dialect) Reader { return Reader{dialect: d} }

// What an event or a body must contain to be worth a closer look.
var (
	markUsage  = []byte(`"usage"`)
	markDelta  = []byte(`"delta"`)
	markSearch = []byte(`web_search_call`)
)

// Body reads a whole answer that is not a stream.
func (r *Reader) Body(body []byte) {
	body = skipSpace(body)
	r.document(body, true)
	m := object(body)
	for name, value, ok := m.next(); ok; name, value, ok = m.next() {
		switch string(name) {
		case "choices", "content", "output":
			r.text += textBytes(value)
		}
	}
}

// Event reads the data of one event of a stream. It does not allocate.
func (r *Reader) Event(data []byte) {
	r.text += deltaBytes(data)
	if r.dialect == vendor.Responses && bytes.Contains(data, markSearch) && bytes.Contains(data, []byte(`"response.output_item.done"`)) {
		r.ran++
	}
	if bytes.Contains(data, markUsage) {
		r.document(skipSpace(data), true)
	}
}

// deltaBytes is what the values of members called delta hold as text.
func deltaBytes(data []byte) (total int64) {
	for {
		i := bytes.Index(data, markDelta)
		if i < 0 {
			return total
		}
		data = skipSpace(data[i+len(markDelta):])
		if len(data) == 0 || data[0] != ':' {
			continue
		}
		data = skipSpace(data[1:])
		end := valueEnd(data)
		total += textBytes(data[:end])
		data = data[end:]
	}
}

// document reads usage where the dialects put it: at the top, or in the response or message that an event carries. What
// stands deeper is content and counts nothing, whatever it is called.
func (r *Reader) document(doc []byte, outer bool) {
	m := object(doc)
	for name, value, ok := m.next(); ok; name, value, ok = m.next() {
		switch string(name) {
		case "usage":
			r.usage(value)
		case "service_tier":
			r.tier(value)
		case "output":
			r.searched(value)
		case "response", "message", "x_groq":
			if outer {
				r.document(value, false)
			}
		}
	}
}

// usage reads one usage object and joins it to what was read before.
func (r *Reader) usage(value []byte) {
	var c counts
	c.read(value, top)
	r.counts.raise(&c)
	m := object(value)
	for name, value, ok := m.next(); ok; name, value, ok = m.next() {
		switch string(name) {
		case "service_tier":
			r.tier(value)
		case "speed": // Anthropic's fast mode is a tier of price
			if string(inner(value)) == "fast" {
				r.service = "fast"
			}
		case "iterations":
			r.iterations(value)
		}
	}
}

// iterations adds up the turns of an answer that the provider made in several; its own top-level counts leave some out.
func (r *Reader) iterations(value []byte) {
	var all counts
	e := array(value)
	for turn, ok := e.next(); ok; turn, ok = e.next() {
		var c counts
		c.read(turn, top)
		all.add(&c)
	}
	r.counts.raise(&all)
}

// tier keeps the service tier if it is one that can change the price. Anthropic's "priority" is capacity bought before and
// changes none.
func (r *Reader) tier(value []byte) {
	if r.dialect == vendor.Messages {
		return
	}
	for _, known := range [...]string{"flex", "priority", "batch", "scale"} {
		if string(inner(value)) == known {
			r.service = known
		}
	}
}

// searched counts the searches among the items of a response.
func (r *Reader) searched(items []byte) {
	n := int64(0)
	e := array(items)
	for item, ok := e.next(); ok; item, ok = e.next() {
		m := object(item)
		for name, value, ok := m.next(); ok; name, value, ok = m.next() {
			if string(name) == "type" && string(inner(value)) == "web_search_call" {
				n++
			}
		}
	}
	r.ran = max(r.ran, n)
}

// TextBytes is how many bytes the model has written so far, as JSON strings write them.
func (r *Reader) TextBytes() int64 { return r.text }
