package queries

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/index"
)

// param is a filter: a flag of the commands and a parameter of the API.
type param struct {
	name, usage string
	usable      bool // for use, too
}

// params are the filters.
func params() []param {
	return []param{
		{"id", "the call of this `ID`", false}, {"trace", "the calls of this trace `ID`", false},
		{"parent", "the calls made under the call of this `ID`", false},
		{"kind", "`KIND`: posted, voided, denied, or reserved for those under way", false},
		{"outcome", "`OUTCOME`: ok, tool_error, upstream_error, cut, unsent, interrupted", false},
		{"customer", "`NAME`; * stands for any text", true}, {"team", "`NAME`", true}, {"key", "`NAME` or id", true}, {"user", "`NAME`", true},
		{"action", "`ACTION`, such as tool.call or llm.*", true},
		{"model", "`PROVIDER/MODEL`, such as openai/gpt-5*", true}, {"provider", "`NAME` of a provider of models", true},
		{"tool", "`SERVER/TOOL`, such as files/*", true}, {"server", "`NAME` of a tool server", true},
		{"upstream", "`NAME` of a server or provider", true}, {"target", "`NAME` of a tool or model", true},
		{"since", "a span back from now, such as 2h or 30d, or an RFC 3339 `TIME`", true}, {"until", "the same", true},
	}
}

// wrong is an error in what was asked.
type wrong struct{ error }

// filterOf reads the parameters of a query. others are those it knows beside the filters.
func filterOf(q url.Values, now time.Time, use bool, others ...string) (f index.Filter, err error) {
	known := others
	for _, p := range params() {
		if p.usable || !use {
			known = append(known, p.name)
		}
	}
	for name := range q {
		if !slices.Contains(known, name) {
			slices.Sort(known)
			return f, wrong{fmt.Errorf("there is no parameter %q here: one of %s", name, strings.Join(known, ", "))}
		}
	}
	f = index.Filter{
		Outcome: q.Get("outcome"), Customer: q.Get("customer"), Team: q.Get("team"), Key: q.Get("key"), User: q.Get("user"),
		Action: q.Get("action"), Upstream: q.Get("upstream"), Target: q.Get("target"),
		Server: q.Get("server"), Provider: q.Get("provider"), Tool: q.Get("tool"), Model: q.Get("model"), After: q.Get("after"),
	}
	var errs []error
	read := func(name string, into func(text string) error) {
		if text := q.Get(name); text != "" {
			if err := into(text); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
			}
		}
	}
	id := func(into *ledger.ID) func(string) error {
		return func(t string) error {
			if into.UnmarshalText([]byte(t)) != nil {
				return fmt.Errorf("%q is not the id of a call: write a UUID", t)
			}
			return nil
		}
	}
	read("id", id(&f.ID))
	read("parent", id(&f.Parent))
	read("trace", func(t string) error {
		if err := f.Trace.UnmarshalText([]byte(t)); err != nil || f.Trace == (ledger.TraceID{}) {
			return fmt.Errorf("%q is not a trace id: write 32 hex digits", t)
		}
		return nil
	})
	read("since", func(t string) (err error) { f.From, err = Instant(t, now); return err })
	read("until", func(t string) (err error) { f.To, err = Instant(t, now); return err })
	read("limit", func(t string) error { f.Limit, err = strconv.Atoi(t); return positive(t, f.Limit, err) })
	read("kind", func(t string) error {
		k, err := ledger.ParseKind(t)
		f.Kinds = []ledger.Kind{k}
		return err
	})
	read("order", func(t string) error {
		f.OldestFirst = t == "oldest"
		if t != "oldest" && t != "newest" {
			return fmt.Errorf("%q: write oldest or newest", t)
		}
		return nil
	})
	if err := errors.Join(errs...); err != nil {
		return f, wrong{err}
	}
	return f, nil
}

func positive(text string, n int, err error) error {
	if err != nil || n < 0 {
		return fmt.Errorf("%q is not a number of lines: write 100, or 0 for all", text)
	}
	return nil
}

// Instant reads a time, or a span back from now.
func Instant(text string, now time.Time) (time.Time, error) {
	if d, err := span(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time: write 2h, 30d, 2026-11-24 or 2026-11-24T12:00:00Z", text)
}

// daysMax bounds spans in days: a century.
const daysMax = 36_500

// span reads a duration, or a number of days.
func span(text string) (time.Duration, error) {
	digits, ok := strings.CutSuffix(text, "d")
	if n, err := strconv.Atoi(digits); ok && err == nil && n >= 0 && n <= daysMax {
		return time.Duration(n) * 24 * time.Hour, nil
	}
	return time.ParseDuration(text)
}
