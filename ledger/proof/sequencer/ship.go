package sequencer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
)

// batchEntries and batchBytes bound a batch: what one transaction holds.
const (
	batchEntries = 4096
	batchBytes   = 1 << 20
)

// ship ships what the journal has on the disk, and reports whether there is more.
func (l *Log) ship(ctx context.Context) (more bool, err error) {
	all, err := l.cfg.Store.places(ctx)
	if err != nil {
		return false, fmt.Errorf("ship entries: %w", err)
	}
	from := all[l.cfg.Replica].shipped
	g := gatherer{reader: l.cfg.Frames(from), log: l}
	defer g.reader.Close()
	after := from // differs where the journal was salvaged
	for range shipAtOnce {
		b, end, err := g.next(after)
		if errors.Is(err, journal.ErrSalvaged) {
			var again bool
			if after, again, err = l.resume(ctx, &g, from); again && err == nil {
				return true, nil
			}
			if errors.Is(err, io.EOF) {
				return false, nil // the entry that says so comes first
			}
			if err == nil {
				b, end, err = g.next(after)
			}
		}
		if err == nil && b.Entries > 0 {
			err = l.cfg.Store.Ship(ctx, b, from, end)
		}
		switch {
		case errors.Is(err, ErrMoved):
			// Either the answer to an earlier shipment was lost, or a copy of this data directory is at work: the next step
			// finds its place again, and the sequencer tells.
			return false, nil
		case errors.Is(err, ErrCopied):
			l.alarm("copied", "entries of this process are not taken into the proof", "err", err)
			return false, fmt.Errorf("ship entries: %w", err)
		case err != nil:
			return false, fmt.Errorf("ship entries: %w", err)
		case b.Entries == 0:
			l.shipped = l.cfg.Now()
			return false, nil
		}
		from, after = end, end
	}
	return true, nil
}

// gatherer makes batches of what a reader reads.
type gatherer struct {
	reader *ledger.Reader
	log    *Log
	held   *journal.Frame // read and not in a batch: it is of another writer than those before it
}

func (g *gatherer) frame() (journal.Frame, error) {
	if f := g.held; f != nil {
		g.held = nil
		return *f, nil
	}
	return g.reader.NextFrame()
}

// next gathers a batch that begins at from; it has no entries when there are none. What comes before damage is gathered
// before that is told.
func (g *gatherer) next(from journal.Position) (*Batch, journal.Position, error) {
	b, end := &Batch{Replica: g.log.cfg.Replica, Shipped: g.log.cfg.Now()}, from
	for b.Entries < batchEntries && len(b.Frames) < batchBytes {
		f, err := g.frame()
		if errors.Is(err, io.EOF) || err != nil && b.Entries > 0 {
			return b, end, nil
		}
		if err != nil {
			return b, end, err
		}
		if b.Entries > 0 && f.Writer != b.Writer {
			f.Bytes = bytes.Clone(f.Bytes)
			f.Payload = f.Bytes[len(f.Bytes)-len(f.Payload):]
			g.held = &f
			return b, end, nil
		}
		b.add(&f, from)
		end = f.End
	}
	return b, end, nil
}

// add puts a frame at the end of the batch; from is where the batch begins.
func (b *Batch) add(f *journal.Frame, from journal.Position) {
	if b.Entries == 0 {
		b.Writer, b.First, b.Place = f.Writer, f.Seq, from
		if from == (journal.Position{}) && (f.Seq != 1 || f.Before != journal.Begin(f.Writer, journal.Chain{})) {
			// The journal's beginning was removed before the first shipment: what is before this frame is known by its chain
			// value alone.
			b.Place.Writer, b.Place.Seq, b.Place.Chain = f.Writer, f.Seq-1, f.Before
		}
		b.Place.Segment, b.Place.Offset = f.End.Segment, f.End.Offset-int64(len(f.Bytes))
	}
	b.Entries++
	b.Frames = append(b.Frames, f.Bytes...)
	p, err := ledger.Peek(f.Payload)
	if err != nil {
		return // a form that is not known here: its time does not matter to the proof
	}
	if b.Since.IsZero() || p.Time.Before(b.Since) {
		b.Since = p.Time
	}
	if p.Time.After(b.Until) {
		b.Until = p.Time
	}
}
