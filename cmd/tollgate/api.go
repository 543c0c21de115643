package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/index"
	"github.com/tollgate/tollgate/ledger/limits"
)

// tailWait is how long a tail waits for a new entry before it looks whether its reader is still there.
const tailWait = time.Second

// apiRoutes is the admin API: what the command line and operators' programs use.
func (p *process) apiRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusOK, map[string]bool{"alive": true})
	})
	p.keyRoutes(mux)
	mux.HandleFunc("GET /api/v1/calls", func(w http.ResponseWriter, r *http.Request) {
		if f, ok := p.asks(w, r); ok {
			found, err := p.index.Calls(r.Context(), f)
			answerPage(w, page[index.Call]{found.Items, found.Next}, err)
		}
	})
	mux.HandleFunc("GET /api/v1/entries", func(w http.ResponseWriter, r *http.Request) {
		if f, ok := p.asks(w, r); ok {
			found, err := p.index.Entries(r.Context(), f)
			answerPage(w, page[ledger.Entry]{found.Items, found.Next}, err)
		}
	})
	mux.HandleFunc("GET /api/v1/limits", func(w http.ResponseWriter, r *http.Request) { writeJSON(w, http.StatusOK, p.standings()) })
	mux.HandleFunc("GET /api/v1/tail", p.tail)
}

func answerPage[T any](w http.ResponseWriter, found page[T], err error) {
	if err != nil {
		writeProblem(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	if found.Items == nil {
		found.Items = []T{}
	}
	writeJSON(w, http.StatusOK, found)
}

// warningHeader says in a whole sentence what an answer lacks.
const (
	warningHeader = "Tollgate-Warning"
	diskFull      = "the disk of the gateway is full: no calls are made, and the latest entries may be missing here"
)

// asks reads the filter of a query and waits until the index has all there is. It answers what is wrong.
func (p *process) asks(w http.ResponseWriter, r *http.Request) (index.Filter, bool) {
	f, err := filterOf(r.URL.Query(), time.Now())
	if err != nil {
		writeProblem(w, http.StatusUnprocessableEntity, err.Error())
		return f, false
	}
	if err := p.index.CatchUp(r.Context()); err != nil {
		p.log.Error("the index is behind the journal", "err", err)
		if durable.IsFull(p.ledger.Ready()) { // nothing new comes either: what there is helps to mend it
			w.Header().Set(warningHeader, diskFull)
			return f, true
		}
		writeProblem(w, http.StatusServiceUnavailable, "the index has not reached the journal's end: see the log")
		return f, false
	}
	return f, true
}

// filterOf reads the parameters of a query.
func filterOf(q url.Values, now time.Time) (f index.Filter, err error) {
	known := []string{"limit", "after", "order"}
	for _, a := range asked {
		known = append(known, a.name)
	}
	for name := range q {
		if !slices.Contains(known, name) {
			return f, fmt.Errorf("there is no filter %q: one of %v", name, known)
		}
	}
	f = index.Filter{
		Outcome: q.Get("outcome"), Customer: q.Get("customer"), Team: q.Get("team"), Key: q.Get("key"), User: q.Get("user"),
		Action: q.Get("action"), Upstream: q.Get("upstream"), Target: q.Get("target"), After: q.Get("after"), OldestFirst: q.Get("order") == "oldest",
	}
	var errs []error
	read := func(name string, into func(text string) error) {
		if text := q.Get(name); text != "" {
			if err := into(text); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
			}
		}
	}
	read("id", func(t string) error { return f.ID.UnmarshalText([]byte(t)) })
	read("parent", func(t string) error { return f.Parent.UnmarshalText([]byte(t)) })
	read("trace", func(t string) error { return f.Trace.UnmarshalText([]byte(t)) })
	read("since", func(t string) (err error) { f.From, err = instant(t, now); return err })
	read("until", func(t string) (err error) { f.To, err = instant(t, now); return err })
	read("limit", func(t string) (err error) { f.Limit, err = strconv.Atoi(t); return err })
	read("kind", func(t string) error {
		k, err := ledger.ParseKind(t)
		f.Kinds = []ledger.Kind{k}
		return err
	})
	return f, errors.Join(errs...)
}

// standing is how one limit stands. Amounts are integers in the limit's unit, money in nano-USD; the texts say the same.
type standing struct {
	Scope string      `json:"scope"`
	Limit string      `json:"limit"`
	On    []string    `json:"on,omitempty"`
	Unit  limits.Unit `json:"unit"`
	Used  int64       `json:"used"`
	Held  int64       `json:"held"`
	Left  int64       `json:"left"`
	Reset time.Time   `json:"resets,omitzero"`
	Texts struct {
		Used, Held, Left string
	} `json:"texts"`
}

// standings lists every limit; those of keys say the key's name.
func (p *process) standings() []standing {
	keyNames := map[string]string{}
	for _, k := range p.keys.List() {
		keyNames[k.ID] = k.Name
	}
	out := []standing{}
	for _, b := range p.ledger.Balances() {
		s := standing{Scope: b.Scope.String(), Limit: b.Limit.Text, On: b.Limit.On, Unit: b.Limit.Unit, Used: b.Used, Held: b.Held, Left: b.Left, Reset: b.Reset}
		if name := keyNames[b.Scope.Name]; b.Scope.Level == ledger.KeyLevel && name != "" {
			s.Scope = "key " + name
		}
		s.Texts.Used, s.Texts.Held, s.Texts.Left = b.Spell(b.Used), b.Spell(b.Held), b.Spell(b.Left)
		out = append(out, s)
	}
	return out
}

// tail streams entries that are written from now on, one JSON object per line, until the reader leaves.
func (p *process) tail(w http.ResponseWriter, r *http.Request) {
	reader := p.ledger.Reader(p.ledger.End())
	defer reader.Close()
	w.Header().Set("Content-Type", "application/jsonl")
	w.WriteHeader(http.StatusOK)
	out := http.NewResponseController(w)
	enc := json.NewEncoder(w)
	_ = out.Flush()
	for r.Context().Err() == nil && p.ledger.Ready() == nil {
		e, err := reader.Next()
		if errors.Is(err, io.EOF) {
			_ = out.Flush()
			reader.Wait(r.Context(), tailWait)
			continue
		}
		if err != nil {
			p.log.Error("reading the journal for a tail", "err", err)
			return
		}
		if enc.Encode(&e) != nil {
			return
		}
	}
}
