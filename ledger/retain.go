package ledger

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/ledger/retention"
	"github.com/tollgate/tollgate/policy"
)

// What the ledger does to its own journal, as actions of admin entries.
const (
	TrimAction    policy.Action = "journal.trim"    // retention has removed its beginning
	RecoverAction policy.Action = "journal.recover" // a start has cut its torn tail
	SalvageAction policy.Action = "journal.salvage" // its damaged end was put aside
)

// byItself is who does them.
const byItself = "tollgate"

// Keep says that name still needs the journal from a position on: retention removes no segment that it has not passed.
// position is asked before each removal, from another goroutine; the zero Position keeps everything. It counts until
// release is called. Whoever has a place of his own that outlives a process, such as a sink's cursor, must register
// before Retain is begun, or what he has not read may go.
func (l *Ledger) Keep(name string, position func() journal.Position) (release func()) {
	return l.keeps.Add(name, position).Release
}

// Retain removes entries that are older than age and read by all who keep them, until ctx ends: see package retention.
// failed gets what could not be done. It is to end before the ledger is closed.
func (l *Ledger) Retain(ctx context.Context, age time.Duration, failed func(error)) {
	l.trimmer(age).Run(ctx, failed)
}

// Trim removes once what Retain removes, and returns where the journal begins then; the zero Position when nothing went.
func (l *Ledger) Trim(ctx context.Context, age time.Duration) (journal.Position, error) {
	return l.trimmer(age).Trim(ctx)
}

func (l *Ledger) trimmer(age time.Duration) *retention.Trimmer {
	return retention.New(retention.Config{
		Dir: l.dir, Journal: l.journal, Keeps: &l.keeps, Walking: &l.walking, Age: age, Now: l.cfg.Now,
		Begin: func(b journal.Beginning) (retention.Tally, error) {
			book, err := bookAt(b, l.cfg.Location)
			return tally{book}, err
		},
		Announce: func(ctx context.Context, detail string) error {
			_, err := l.Record(ctx, Act{Action: TrimAction, By: byItself, Status: OK, Detail: detail})
			return err
		},
	})
}

// tally is a book as retention sees it.
type tally struct{ book *book }

func (t tally) Apply(e *Entry) error { return t.book.apply(e) }

func (t tally) Encode(end journal.Position) ([]byte, error) { return t.book.checkpoint(end).encode() }

// Salvage gives up the damaged end of the ledger in a directory that no process has open, so that it starts again: see
// journal.Salvage. The next start writes an entry about it. It returns journal.ErrWhole when nothing is damaged.
func Salvage(dir durable.Dir) (journal.Damage, error) {
	return journal.Salvage(dir, func() error { // the balances are made from what holds; those stored may count more
		if err := dir.Remove(checkpointName); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return dir.Sync()
	})
}
