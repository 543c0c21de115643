package queries

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/ledger/index"
)

// API answers queries from an index. Its fields are set before it is used.
type API struct {
	Index *index.Index
	Log   *slog.Logger
	Ready func() error // whether the ledger can write; nil: it can

	// Users turns the name of a user into what stands for it in entries; nil: the name itself.
	Users func(ctx context.Context, name string) (string, error)
	// Names writes names in the place of what stands for users in texts that are shown; nil: they are shown as they are.
	Names func(ctx context.Context, texts ...*string) error
}

// WarningHeader says in a whole sentence what an answer lacks.
const (
	WarningHeader = "Tollgate-Warning"
	diskFull      = "the disk of the gateway is full: no calls are made, and the latest entries may be missing here"
)

// Register adds the routes.
func (a *API) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/v1/calls", func(w http.ResponseWriter, r *http.Request) {
		answer(a, w, r, lister[callRow]{fetch: a.calls, columns: callColumns})
	})
	mux.HandleFunc("GET /api/v1/entries", func(w http.ResponseWriter, r *http.Request) {
		answer(a, w, r, lister[callRow]{fetch: a.entries, columns: callColumns})
	})
	mux.HandleFunc("GET /api/v1/usage", func(w http.ResponseWriter, r *http.Request) {
		by := groupsOf(r.URL.Query())
		answer(a, w, r, lister[usageRow]{fetch: a.usage(by), columns: func() []column[usageRow] { return usageColumns(by, false) }, use: true})
	})
	mux.HandleFunc("GET /api/v1/index", a.feeds)
}

// part is a page of an answer.
type part[T any] struct {
	Items []T        `json:"items"`
	Next  string     `json:"next,omitempty"`
	Total *usageSums `json:"total,omitempty"` // of use: of all pages
	From  time.Time  `json:"from,omitzero"`
	To    time.Time  `json:"to,omitzero"`
}

// lister is one of the lists.
type lister[T any] struct {
	fetch   func(context.Context, index.Filter) (part[T], error)
	columns func() []column[T] // of CSV
	use     bool
}

// groupsOf reads by=team,day; it may be given several times.
func groupsOf(q url.Values) []string {
	return strings.FieldsFunc(strings.Join(q["by"], ","), func(r rune) bool { return r == ',' || r == ' ' })
}

// answer answers one query: a page, or an export.
func answer[T cursored](a *API, w http.ResponseWriter, r *http.Request, l lister[T]) {
	q := r.URL.Query()
	others := []string{"limit", "after", "format", "wait"}
	if l.use {
		others = append(others, "by")
	} else {
		others = append(others, "order")
	}
	f, err := filterOf(q, time.Now(), l.use, others...)
	if err == nil {
		err = a.ready(r.Context(), w, q.Get("wait"))
	}
	if err == nil && a.Users != nil && f.User != "" {
		f.User, err = a.Users(r.Context(), f.User)
	}
	if err != nil {
		a.refuse(w, err)
		return
	}
	switch format := q.Get("format"); format {
	case "", "json":
		found, err := l.fetch(r.Context(), f)
		if err != nil {
			a.refuse(w, err)
			return
		}
		if found.Items == nil {
			found.Items = []T{}
		}
		write(w, http.StatusOK, "application/json", found)
	case "jsonl", "csv":
		export(a, w, r, l, f, format)
	default:
		a.refuse(w, wrong{errors.New("format: write json, jsonl or csv")})
	}
}

// ready waits until the index has all there is, unless wait says that what it has will do.
func (a *API) ready(ctx context.Context, w http.ResponseWriter, wait string) error {
	switch wait {
	case "", "true":
		err := a.Index.CatchUp(ctx)
		if err != nil && a.Ready != nil && durable.IsFull(a.Ready()) { // nothing new comes either: what there is helps to mend it
			a.Log.Error("the index is behind the journal", "err", err)
			w.Header().Set(WarningHeader, diskFull)
			return nil
		}
		return err
	case "false":
		return nil
	}
	return wrong{errors.New("wait: write false to be answered from what the index has by now, or true")}
}

// refuse answers an error: what was asked wrongly with 422, a database that does not answer with 503.
func (a *API) refuse(w http.ResponseWriter, err error) {
	status, text := http.StatusServiceUnavailable, "the index cannot be read now: see the log. Calls go on, and nothing is lost: entries wait in the journal"
	_, unreachable := errors.AsType[*index.UnreachableError](err)
	_, filter := errors.AsType[*index.FilterError](err)
	_, mistaken := errors.AsType[wrong](err)
	switch {
	case filter || mistaken:
		status, text = http.StatusUnprocessableEntity, err.Error()
	case unreachable:
		text = "the index's database does not answer. Calls go on, and nothing is lost: entries wait in the journal. Ask again when it is back"
	}
	if status != http.StatusUnprocessableEntity {
		a.Log.Error("a query was not answered", "err", err)
	}
	write(w, status, "application/problem+json", map[string]any{"title": http.StatusText(status), "status": status, "detail": text})
}

func write(w http.ResponseWriter, status int, kind string, v any) {
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone if it fails
}

// feeds says how far the index is with each replica's entries.
func (a *API) feeds(w http.ResponseWriter, r *http.Request) {
	feeds, err := a.Index.Feeds(r.Context())
	if err != nil {
		a.refuse(w, err)
		return
	}
	write(w, http.StatusOK, "application/json", map[string]any{"feeds": feeds})
}

func (a *API) calls(ctx context.Context, f index.Filter) (part[callRow], error) {
	found, err := a.Index.Calls(ctx, f)
	p := part[callRow]{Next: found.Next}
	for i := range found.Items {
		p.Items = append(p.Items, callRow{entry: found.Items[i].Entry, ended: found.Items[i].Ended, cursor: found.Cursors[i]})
	}
	if err == nil {
		err = a.named(ctx, p.Items)
	}
	return p, err
}

// named writes the names of users into rows.
func (a *API) named(ctx context.Context, rows []callRow) error {
	if a.Names == nil {
		return nil
	}
	var texts []*string
	for i := range rows {
		texts = append(texts, &rows[i].entry.Who.User, &rows[i].entry.Detail)
	}
	return a.Names(ctx, texts...)
}

func (a *API) entries(ctx context.Context, f index.Filter) (part[callRow], error) {
	found, err := a.Index.Entries(ctx, f)
	p := part[callRow]{Next: found.Next}
	for i := range found.Items {
		p.Items = append(p.Items, callRow{entry: found.Items[i], cursor: found.Cursors[i]})
	}
	if err == nil {
		err = a.named(ctx, p.Items)
	}
	return p, err
}

func (a *API) usage(by []string) func(context.Context, index.Filter) (part[usageRow], error) {
	return func(ctx context.Context, f index.Filter) (part[usageRow], error) {
		found, err := a.Index.Usage(ctx, f, by...)
		p := part[usageRow]{Next: found.Next, From: found.From, To: found.To, Total: &usageSums{found.Total}}
		for i := range found.Items {
			p.Items = append(p.Items, usageRow{by: by, use: found.Items[i], cursor: found.Cursors[i]})
		}
		if i := slices.Index(by, "user"); i >= 0 && a.Names != nil && err == nil {
			var texts []*string
			for _, row := range p.Items {
				texts = append(texts, &row.use.Group[i])
			}
			err = a.Names(ctx, texts...)
		}
		return p, err
	}
}
