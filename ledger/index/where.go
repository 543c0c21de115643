package index

import (
	"strings"

	"github.com/tollgate/tollgate/ledger/index/store"
)

// where is a condition under construction.
type where struct {
	dialect *store.Dialect
	text    []string
	args    []any
}

func (w *where) and(condition string, args ...any) {
	w.text = append(w.text, condition)
	w.args = append(w.args, args...)
}

func (w *where) String() string {
	if len(w.text) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.text, " AND ")
}

// match restricts an expression of text, when there is something to restrict it to.
func (w *where) match(expression, text string) {
	if text == "" {
		return
	}
	condition, argument := w.dialect.Matches(expression, text)
	w.and(condition, argument)
}
