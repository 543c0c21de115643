package sink

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// samples is how many entries of a refused batch are tried alone to tell a receiver that minds some entries from one that
// takes none.
const samples = 8

// deliver hands the batch over, as often as it takes. It reports whether all of it was acknowledged or put aside; if not,
// the feed shall end.
func (f *feed) deliver(to Receiver, whole bool) bool {
	for try := 0; len(f.batch) > 0; try++ {
		before := len(f.batch)
		err := f.attempt(to)
		if err == nil {
			return true
		}
		if f.sending.Err() != nil {
			return false
		}
		if len(f.batch) < before {
			try = 0
		}
		f.failed(err, try)
		f.pause(f.backoff(try, err))
		if f.hasty.Err() != nil {
			return false
		}
		if !whole {
			f.extend()
		}
	}
	return true
}

// extend adds to a batch that waits what has come meanwhile, so that one entry that is refused does not wait alone.
func (f *feed) extend() {
	for len(f.batch) < f.spec.Batch.Entries && len(f.text) < f.spec.Batch.Bytes {
		a, err := f.next()
		if err != nil {
			return // the next round meets it again
		}
		if !f.wants(&a.entry) {
			f.end = a.end
			f.read++
			continue
		}
		if more, err := f.add(&a, true); err != nil || !more {
			if err != nil {
				f.ahead = &a
			}
			return
		}
	}
}

// attempt sends the batch once, and takes it apart when it is refused. What was taken leaves it.
func (f *feed) attempt(to Receiver) error {
	err := f.send(to, f.batch)
	if err == nil {
		f.taken(len(f.batch))
		f.batch = f.batch[:0]
		return nil
	}
	if _, ok := errors.AsType[*RefusedError](err); ok {
		return f.isolate(to)
	}
	return err
}

func (f *feed) send(to Receiver, lines []Line) error {
	ctx, cancel := context.WithTimeout(f.sending, sendTimeout)
	defer cancel()
	return to.Send(ctx, lines)
}

// isolate finds the entries of the batch that are refused and puts them aside, but only once the receiver has taken
// another of the same batch. What is still open after an error stays in the batch.
func (f *feed) isolate(to Receiver) error {
	all, open := f.batch, make([]Line, 0, len(f.batch))
	step := max(len(all)/samples, 1)
	type refused struct {
		line   Line
		reason error
	}
	var bad []refused
	took := 0
	for i, line := range all {
		if i%step != 0 && i != len(all)-1 {
			open = append(open, line)
			continue
		}
		err := f.send(to, all[i:i+1])
		if err == nil {
			took++
			continue
		}
		open = append(open, line)
		if _, ok := errors.AsType[*RefusedError](err); !ok {
			f.batch = append(open, all[i+1:]...)
			f.taken(took)
			return err
		}
		bad = append(bad, refused{line, err})
	}
	f.taken(took)
	f.batch = open
	if took == 0 {
		return fmt.Errorf("%w: %w", errNothingTaken, bad[0].reason)
	}
	for _, b := range bad {
		if err := f.aside(&b.line, b.reason); err != nil {
			return err
		}
		f.batch = without(f.batch, &b.line)
	}
	return f.bisect(to)
}

func without(lines []Line, one *Line) []Line {
	for i := range lines {
		if lines[i].Entry.ID == one.Entry.ID {
			return append(lines[:i:i], lines[i+1:]...)
		}
	}
	return lines
}

// bisect sends the batch in halves until it is empty. The receiver is known to take entries.
func (f *feed) bisect(to Receiver) error {
	for n := len(f.batch); len(f.batch) > 0; {
		n = min(n, len(f.batch))
		err := f.send(to, f.batch[:n])
		_, refused := errors.AsType[*RefusedError](err)
		switch {
		case err == nil:
			f.taken(n)
		case refused && n > 1:
			n /= 2
			continue
		case refused:
			if err := f.aside(&f.batch[0], err); err != nil {
				return err
			}
		default:
			return err
		}
		f.batch = f.batch[n:]
		n *= 2
	}
	return nil
}

// aside puts one refused entry away.
func (f *feed) aside(line *Line, reason error) error {
	kept, err := putAside(f.dir, f.spec.Name, aside{time.Now().UTC(), reason.Error(), &line.Entry})
	if err != nil {
		return err
	}
	f.log.Warn("an entry was refused and put aside", "entry", line.Entry.ID, "reason", reason, "kept_in_file", kept)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.place.Refused++
	return nil
}
