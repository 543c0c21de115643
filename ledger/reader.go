package ledger

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/ledger/entry"
	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/ledger/retention"
)

// Reader reads entries in the journal's order and verifies each. Everything that is not the hot path reads the ledger
// this way: the index, sinks, checks. It is for one goroutine.
type Reader struct {
	cursor  *journal.Cursor
	journal *journal.Journal // nil: nobody writes
	decoder entry.Decoder
	writer  journal.Writer    // of the last entry…
	name    string            // …and its name
	payload []byte            // …and its bytes
	keeper  *retention.Keeper // what it has not read is kept; nil: nobody removes
}

// Reader reads the ledger's entries after a position, as far as they are on disk, while more are appended. What it has
// not read is kept until it is closed.
func (l *Ledger) Reader(from journal.Position) *Reader {
	return &Reader{cursor: journal.NewCursor(l.dir, from), journal: l.journal, decoder: entry.NewDecoder(), keeper: l.keeps.Reader(from)}
}

// NewReader reads the entries of a directory that no process writes to.
func NewReader(dir durable.Dir, from journal.Position) *Reader {
	return &Reader{cursor: journal.NewCursor(dir, from), decoder: entry.NewDecoder()}
}

// NextFrame returns the next entry as the journal has it, or io.EOF when there is none yet.
func (r *Reader) NextFrame() (journal.Frame, error) {
	limit := journal.Written()
	if r.journal != nil {
		limit, _ = r.journal.Durable()
	}
	f, err := r.cursor.Next(limit)
	if err != nil {
		return f, err
	}
	r.payload = f.Payload
	r.keeper.Passed(f.End.Segment)
	return f, nil
}

// Next returns the next entry, or io.EOF when there is none yet.
func (r *Reader) Next() (Entry, error) {
	f, err := r.NextFrame()
	if err != nil {
		return Entry{}, err
	}
	e, err := r.decoder.Decode(f.Payload)
	if err != nil {
		return e, fmt.Errorf("frame %d of journal segment %d: %w", f.Seq, f.End.Segment, err)
	}
	if f.Writer != r.writer || r.name == "" {
		r.writer, r.name = f.Writer, ID(f.Writer).String()
	}
	e.Writer, e.Seq = r.name, f.Seq
	return e, nil
}

// Payload is the entry that Next returned last as the journal has it, valid until the next call of Next.
func (r *Reader) Payload() []byte { return r.payload }

// All yields the entries there are. An error ends it; so does the end, without one.
func (r *Reader) All() func(yield func(*Entry, error) bool) {
	return func(yield func(*Entry, error) bool) {
		for {
			e, err := r.Next()
			if err == io.EOF || !yield(&e, err) || err != nil {
				return
			}
		}
	}
}

// Position is where the reader stands: after the entry that Next returned last.
func (r *Reader) Position() journal.Position { return r.cursor.Position() }

// Resume goes on where the journal does after journal.ErrSalvaged: see journal.Cursor.Resume.
func (r *Reader) Resume() error { return r.cursor.Resume() }

// Wait returns when there may be more to read, or after d, or with ctx.
func (r *Reader) Wait(ctx context.Context, d time.Duration) {
	if r.journal != nil {
		r.journal.Wait(ctx, r.cursor.Position(), d)
	}
}

// Close releases the open file, and what was kept for the reader.
func (r *Reader) Close() error {
	r.keeper.Release()
	return r.cursor.Close()
}

// End is the end of what is on disk.
func (l *Ledger) End() journal.Position {
	end, _ := l.journal.Durable()
	return end
}

// Count is how many entries lie between two positions. It reads little: see journal.Count.
func (l *Ledger) Count(from, to journal.Position) (uint64, error) {
	return journal.Count(l.dir, from, to)
}
