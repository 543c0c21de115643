package queries

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/tollgate/tollgate/cmd/tollgate/sheet"
	"github.com/tollgate/tollgate/ledger/index"
)

// exportWriteTime is how long a client may take to read one page of an export before it is given up.
const exportWriteTime = time.Minute

// line is a row of an export: it says how to go on behind it.
type line[T any] struct {
	row    T
	cursor string
}

// MarshalJSON writes the cursor first.
func (l line[T]) MarshalJSON() ([]byte, error) {
	b, err := json.Marshal(l.row)
	if err != nil {
		return nil, err
	}
	return before(b, struct {
		Cursor string `json:"cursor"`
	}{l.cursor})
}

// cursored is a row with its cursor.
type cursored interface{ after() string }

func (r callRow) after() string { return r.cursor }

func (r usageRow) after() string { return r.cursor }

// export streams all that f matches, or f.Limit of it, a page at a time: no query is held open while the client reads. The
// first page is read before anything is answered, so that what is wrong is told as such; an error later breaks the stream.
func export[T cursored](a *API, w http.ResponseWriter, r *http.Request, l lister[T], f index.Filter, format string) {
	left := f.Limit
	next := func() (part[T], error) {
		f.Limit = index.PageMax
		if left > 0 {
			f.Limit = min(left, index.PageMax)
		}
		return l.fetch(r.Context(), f)
	}
	page, err := next()
	if err != nil {
		a.refuse(w, err)
		return
	}
	kind := map[string]string{"jsonl": "application/jsonl", "csv": "text/csv; charset=utf-8"}[format]
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Disposition", `attachment; filename="tollgate.`+format+`"`)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	lines := exportColumns(l.columns())
	out, err := sheet.New(w, format, lines)
	deadline := http.NewResponseController(w)
	for err == nil {
		_ = deadline.SetWriteDeadline(time.Now().Add(exportWriteTime)) // a pipe has none
		for _, row := range page.Items {
			if err = out.Add(line[T]{row, row.after()}); err != nil {
				break
			}
		}
		if err == nil {
			err = out.Flush()
		}
		if left > 0 {
			if left -= f.Limit; left <= 0 {
				return
			}
		}
		if page.Next == "" || err != nil {
			break
		}
		f.After = page.Next
		page, err = next()
	}
	if err != nil {
		if r.Context().Err() == nil {
			a.Log.Error("an export broke off", "err", err)
		}
		panic(http.ErrAbortHandler) // so that the client does not take it for the whole
	}
}

// exportColumns are columns, and the cursor.
func exportColumns[T any](columns []column[T]) []column[line[T]] {
	var out []column[line[T]]
	for _, c := range columns {
		out = append(out, column[line[T]]{Head: c.Head, Text: func(l line[T]) string { return c.Text(l.row) }})
	}
	return append(out, column[line[T]]{Head: "cursor", Text: func(l line[T]) string { return l.cursor }})
}
