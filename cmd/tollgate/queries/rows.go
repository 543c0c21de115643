package queries

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate/tollgate/cmd/tollgate/sheet"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/index"
)

type column[T any] = sheet.Column[T]

// callRow is a call or an entry: as the index gave it, or as the API wrote it.
type callRow struct {
	entry  ledger.Entry
	ended  time.Time
	cursor string
	raw    json.RawMessage // what was read: what this program does not know of it is passed on
}

// MarshalJSON writes the entry, and when the call ended.
func (r callRow) MarshalJSON() ([]byte, error) {
	if r.raw != nil {
		return r.raw, nil
	}
	b, err := json.Marshal(r.entry)
	if err != nil || r.ended.IsZero() {
		return b, err
	}
	return before(b, struct {
		Ended time.Time `json:"ended"`
	}{r.ended})
}

// UnmarshalJSON keeps the text beside the fields.
func (r *callRow) UnmarshalJSON(b []byte) error {
	r.raw = append(json.RawMessage(nil), b...)
	return json.Unmarshal(b, &r.entry)
}

// before puts the fields of v before those of an object.
func before(object []byte, v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	rest := bytes.TrimPrefix(object, []byte("{"))
	if bytes.Equal(rest, []byte("}")) {
		return b, nil
	}
	return append(append(bytes.TrimSuffix(b, []byte("}")), ','), rest...), nil
}

// usageSums is use without what it is of.
type usageSums struct{ index.Use }

// usageRow is the use of one group.
type usageRow struct {
	by     []string
	use    index.Use
	cursor string
	raw    json.RawMessage
}

// MarshalJSON writes the group, its fields in the order asked for, and the sums.
func (r usageRow) MarshalJSON() ([]byte, error) {
	if r.raw != nil {
		return r.raw, nil
	}
	group := []byte{'{'}
	for i, name := range r.by {
		value, err := json.Marshal(r.use.Group[i])
		if err != nil {
			return nil, err
		}
		if i > 0 {
			group = append(group, ',')
		}
		group = append(append(strconv.AppendQuote(group, name), ':'), value...)
	}
	sums, err := json.Marshal(r.use)
	if err != nil {
		return nil, err
	}
	return before(sums, struct {
		Group json.RawMessage `json:"group"`
	}{append(group, '}')})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *usageRow) UnmarshalJSON(b []byte) error {
	r.raw = append(json.RawMessage(nil), b...)
	var group struct{ Group map[string]string }
	if err := json.Unmarshal(b, &group); err != nil {
		return err
	}
	for name, value := range group.Group {
		r.by, r.use.Group = append(r.by, name), append(r.use.Group, value)
	}
	return json.Unmarshal(b, &r.use)
}

func (r *usageRow) of(name string) string {
	for i, by := range r.by {
		if by == name {
			return r.use.Group[i]
		}
	}
	return ""
}

// number is n, or nothing for 0.
func number(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// tableColumns are what people see of a call.
func tableColumns() []column[callRow] {
	return []column[callRow]{
		{Head: "time", Text: func(r callRow) string { return r.entry.Time.Local().Format("2006-01-02 15:04:05.000") }},
		{Head: "kind", Text: func(r callRow) string { return r.entry.Kind.String() }},
		{Head: "key", Text: func(r callRow) string { return firstOf(r.entry.Who.Key, r.entry.Who.KeyID, r.entry.Source) }},
		{Head: "action", Text: func(r callRow) string { return string(r.entry.Action) }},
		{Head: "target", Text: func(r callRow) string { return strings.Trim(r.entry.Upstream+"/"+r.entry.Target, "/") }},
		{Head: "rules", Text: func(r callRow) string { return strings.Join(r.entry.Rules, ",") }},
		{Head: "outcome", Text: func(r callRow) string { return string(r.entry.Status) }},
		{Head: "tokens", Text: func(r callRow) string { return number(r.entry.Quantities.Tokens()) }},
		{Head: "cost", Text: func(r callRow) string { return costText(&r.entry) }},
		{Head: "trace", Text: func(r callRow) string { return r.entry.Trace.String() }},
		{Head: "id", Text: func(r callRow) string { return r.entry.Call().String() }},
	}
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

func costText(e *ledger.Entry) string {
	text := e.Cost.String()
	if e.Estimated {
		text += " est."
	}
	return text
}

// callColumns are what CSV has of a call or an entry: amounts are integers, money in nano-USD.
func callColumns() []column[callRow] {
	text := func(head string, of func(*ledger.Entry) string) column[callRow] {
		return column[callRow]{Head: head, Text: func(r callRow) string { return of(&r.entry) }}
	}
	count := func(head string, of func(*ledger.Entry) int64) column[callRow] {
		return column[callRow]{Head: head, Text: func(r callRow) string { return strconv.FormatInt(of(&r.entry), 10) }}
	}
	return []column[callRow]{
		text("time", func(e *ledger.Entry) string { return moment(e.Time) }),
		text("kind", func(e *ledger.Entry) string { return e.Kind.String() }),
		text("id", func(e *ledger.Entry) string { return e.ID.String() }),
		text("call", func(e *ledger.Entry) string { return e.Call().String() }),
		text("parent", func(e *ledger.Entry) string { return e.Parent.String() }),
		text("trace", func(e *ledger.Entry) string { return e.Trace.String() }),
		text("customer", func(e *ledger.Entry) string { return e.Who.Customer }),
		text("team", func(e *ledger.Entry) string { return e.Who.Team }),
		text("key", func(e *ledger.Entry) string { return e.Who.Key }),
		text("key_id", func(e *ledger.Entry) string { return e.Who.KeyID }),
		text("user", func(e *ledger.Entry) string { return e.Who.User }),
		text("client", func(e *ledger.Entry) string { return e.Who.Client }),
		text("source", func(e *ledger.Entry) string { return e.Source }),
		text("action", func(e *ledger.Entry) string { return string(e.Action) }),
		text("upstream", func(e *ledger.Entry) string { return e.Upstream }),
		text("target", func(e *ledger.Entry) string { return e.Target }),
		text("revision", func(e *ledger.Entry) string { return e.Revision }),
		text("rules", func(e *ledger.Entry) string { return strings.Join(e.Rules, " ") }),
		text("outcome", func(e *ledger.Entry) string { return string(e.Status) }),
		count("code", func(e *ledger.Entry) int64 { return int64(e.Code) }),
		count("hold", func(e *ledger.Entry) int64 { return int64(e.Hold) }),
		count("cost", func(e *ledger.Entry) int64 { return int64(e.Cost) }),
		text("estimated", func(e *ledger.Entry) string { return strconv.FormatBool(e.Estimated) }),
		count("tokens", func(e *ledger.Entry) int64 { return e.Quantities.Tokens() }),
		count("input_tokens", func(e *ledger.Entry) int64 { return e.Quantities.InputTokens }),
		count("cache_read_tokens", func(e *ledger.Entry) int64 { return e.Quantities.CacheReadTokens }),
		count("output_tokens", func(e *ledger.Entry) int64 { return e.Quantities.OutputTokens }),
		text("latency_ms", func(e *ledger.Entry) string {
			return strconv.FormatFloat(float64(e.Latency.Microseconds())/1000, 'f', -1, 64)
		}),
		text("detail", func(e *ledger.Entry) string { return e.Detail }),
		text("writer", func(e *ledger.Entry) string { return e.Writer }),
		count("seq", func(e *ledger.Entry) int64 { return int64(e.Seq) }),
	}
}

// usageColumns are what tables and CSV have of use.
func usageColumns(by []string, table bool) []column[usageRow] {
	var out []column[usageRow]
	for _, name := range by {
		out = append(out, column[usageRow]{Head: name, Text: func(r usageRow) string { return r.of(name) }})
	}
	for _, c := range []struct {
		head string
		of   func(*index.Use) int64
	}{
		{"calls", func(u *index.Use) int64 { return u.Calls }},
		{"denied", func(u *index.Use) int64 { return u.Denied }},
		{"failed", func(u *index.Use) int64 { return u.Failed }},
		{"tokens", func(u *index.Use) int64 { return u.Tokens }},
		{"input_tokens", func(u *index.Use) int64 { return u.Input }},
		{"output_tokens", func(u *index.Use) int64 { return u.Output }},
	} {
		out = append(out, column[usageRow]{Head: c.head, Text: func(r usageRow) string { return strconv.FormatInt(c.of(&r.use), 10) }})
	}
	money := func(head string, of func(*index.Use) ledger.Nano) column[usageRow] {
		return column[usageRow]{Head: head, Text: func(r usageRow) string {
			if table {
				return of(&r.use).String()
			}
			return strconv.FormatInt(int64(of(&r.use)), 10)
		}}
	}
	return append(out, money("cost", func(u *index.Use) ledger.Nano { return u.Cost }),
		money("estimated", func(u *index.Use) ledger.Nano { return u.Estimated }))
}
