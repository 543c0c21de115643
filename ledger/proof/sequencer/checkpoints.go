package sequencer

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/ledger/proof"
)

// newOrigin names a log that nobody has named.
func newOrigin() string { return "tollgate/" + uuid.NewString() }

// sign keeps a checkpoint signed over the tree at head; verifier is the key that signs from here on. ErrMoved: another has
// been signed since.
func (s *Store) sign(ctx context.Context, head Head, c *proof.Checkpoint, note []byte, verifier string) (Signed, error) {
	signed := Signed{Number: head.Signed + 1, Size: c.Size, Time: c.Time, Note: note}
	return signed, s.db.tx(ctx, func(ctx context.Context, tx statements) error {
		n, err := tx.Exec(ctx, "UPDATE proof_head SET signed = ?, verifier = ? WHERE one = 1 AND signed = ?", signed.Number, verifier, head.Signed)
		if err != nil {
			return err
		}
		if n != 1 {
			return ErrMoved
		}
		_, err = tx.Exec(ctx, "INSERT INTO proof_checkpoints (number, size, time, verifier, note) VALUES (?, ?, ?, ?, ?)",
			signed.Number, signed.Size, signed.Time.Unix(), verifier, string(note))
		return err
	})
}

// Checkpoints lists signed checkpoints over at least size entries and with a number beyond after, in order.
func (s *Store) Checkpoints(ctx context.Context, size, after int64, limit int) ([]Signed, error) {
	return s.checkpoints(ctx, "WHERE number > ? AND size >= ? ORDER BY number LIMIT ?", after, size, limit)
}

// LastCheckpoint returns the newest checkpoint; Number 0: there is none.
func (s *Store) LastCheckpoint(ctx context.Context) (Signed, error) {
	all, err := s.checkpoints(ctx, "ORDER BY number DESC LIMIT 1")
	if err != nil || len(all) == 0 {
		return Signed{}, err
	}
	return all[0], nil
}

func (s *Store) checkpoints(ctx context.Context, where string, args ...any) (out []Signed, err error) {
	err = s.db.tx(ctx, func(ctx context.Context, tx statements) error {
		out = nil
		return tx.Each(ctx, func(scan func(...any) error) error {
			var one Signed
			var at int64
			var note string
			err := scan(&one.Number, &one.Size, &at, &note)
			one.Time, one.Note = time.Unix(at, 0).UTC(), []byte(note)
			out = append(out, one)
			return err
		}, "SELECT number, size, time, note FROM proof_checkpoints "+where, args...)
	})
	return out, err
}

// Signer is a key that has signed checkpoints.
type Signer struct {
	Verifier string    `json:"verifier"`
	Since    time.Time `json:"since"` // when it signed first
	Size     int64     `json:"size"`  // over so many entries
}

// Signers lists the keys that have signed, in the order they came into force.
func (s *Store) Signers(ctx context.Context) (out []Signer, err error) {
	err = s.db.tx(ctx, func(ctx context.Context, tx statements) error {
		out = nil
		return tx.Each(ctx, func(scan func(...any) error) error {
			var one Signer
			var at, number int64
			err := scan(&one.Verifier, &one.Size, &at, &number)
			one.Since = time.Unix(at, 0).UTC()
			out = append(out, one)
			return err
		}, "SELECT verifier, min(size), min(time), min(number) FROM proof_checkpoints GROUP BY verifier ORDER BY min(number)")
	})
	return out, err
}

// Exported is the number of the last checkpoint that a target has.
func (s *Store) Exported(ctx context.Context, target string) (number int64, err error) {
	err = s.db.tx(ctx, func(ctx context.Context, tx statements) error {
		return tx.Each(ctx, func(scan func(...any) error) error { return scan(&number) }, "SELECT number FROM proof_exports WHERE target = ?", target)
	})
	return number, err
}

// SetExported says that a target has all checkpoints up to number. It never goes back.
func (s *Store) SetExported(ctx context.Context, target string, number int64) error {
	return s.db.tx(ctx, func(ctx context.Context, tx statements) error {
		_, err := tx.Exec(ctx, `INSERT INTO proof_exports (target, number) VALUES (?, ?)
ON CONFLICT (target) DO UPDATE SET number = excluded.number WHERE proof_exports.number < excluded.number`, target, number)
		return err
	})
}

// Waiting is when the oldest batch that a replica has shipped and that is not in the tree was shipped; zero: there is none.
func (s *Store) Waiting(ctx context.Context, replica string) (since time.Time, err error) {
	err = s.db.tx(ctx, func(ctx context.Context, tx statements) error {
		return tx.Each(ctx, func(scan func(...any) error) error {
			var at int64
			err := scan(&at)
			if at > 0 {
				since = time.Unix(0, at).UTC()
			}
			return err
		}, "SELECT COALESCE(min(shipped), 0) FROM proof_batches WHERE at IS NULL AND replica = ?", replica)
	})
	return since, err
}

// Prune forgets the entries that were all written before a time. It keeps whole blocks of proof.BlockLeaves, what the last
// checkpoint does not cover, and every hash, so that what remains is proved as before. With a file it is the journal that
// removes frames; their batches follow them here.
func (s *Store) Prune(ctx context.Context, before time.Time) error {
	last, err := s.LastCheckpoint(ctx)
	if err != nil {
		return err
	}
	return s.db.tx(ctx, func(ctx context.Context, tx statements) error {
		// The first batch that must stay: a batch is as old as its newest entry, and no younger one before it may go.
		first := int64(-1)
		err := tx.Each(ctx, func(scan func(...any) error) error { return scan(&first) },
			"SELECT COALESCE(min(at), -1) FROM proof_batches WHERE at IS NOT NULL AND until >= ?", before.UnixNano())
		if err != nil {
			return err
		}
		if first < 0 {
			first = last.Size
		}
		return prune(ctx, tx, min(first, last.Size))
	})
}

// follow forgets the batches whose frames the journal does not have any more, because it begins at a later place.
func (s *Store) follow(ctx context.Context, begins journal.Position) error {
	if begins == (journal.Position{}) {
		return nil
	}
	return s.db.tx(ctx, func(ctx context.Context, tx statements) error {
		gone := int64(0)
		place := appendPosition(nil, journal.Position{Segment: begins.Segment, Offset: begins.Offset})
		err := tx.Each(ctx, func(scan func(...any) error) error { return scan(&gone) },
			"SELECT COALESCE(max(at + entries), 0) FROM proof_batches WHERE at IS NOT NULL AND place < ?", place)
		if err != nil || gone == 0 {
			return err
		}
		// What is left of the block in which they end cannot be proved by itself.
		return prune(ctx, tx, gone+proof.BlockLeaves-1)
	})
}

// prune removes the batches of the whole blocks before an index. A batch that reaches beyond stays.
func prune(ctx context.Context, tx statements, index int64) error {
	index -= index % proof.BlockLeaves
	if _, err := tx.Exec(ctx, "UPDATE proof_head SET first = ? WHERE one = 1 AND first < ?", index, index); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "DELETE FROM proof_batches WHERE at IS NOT NULL AND at + entries <= ?", index)
	return err
}
