package lease

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// duty is the task of looking after replicas that are silent, and how long one has it.
const (
	duty     = "lease"
	dutyTime = 10 * time.Second
	// cleanGap is how often rows are looked for that say nothing any more: it reads whole tables.
	cleanGap = time.Minute
)

func (d *database) reap(ctx context.Context, holder string, w watched, monotonic time.Duration) error {
	held, err := d.db.TakeDuty(ctx, duty, holder, dutyTime)
	if err != nil || !held {
		clear(w)
		return err
	}
	now, err := d.now(ctx)
	if err != nil {
		return err
	}
	rows, err := d.db.Query(ctx, "SELECT "+replicaColumns+" FROM lease_replicas WHERE gone IS NULL")
	if err != nil {
		return err
	}
	live, err := collect(rows, scanReplica)
	if err != nil {
		return err
	}
	for _, r := range w.overdue(live, now, monotonic) {
		if err := d.bury(ctx, &r); err != nil {
			return err
		}
	}
	if err := d.slid(ctx, now); err != nil || now.Sub(d.cleaned) < cleanGap {
		return err
	}
	d.cleaned = now
	return d.clean(ctx, now)
}

// bury declares a replica gone, if it has not been heard of since it was read. Its row's lock orders this and its exchange.
func (d *database) bury(ctx context.Context, r *replicaRow) error {
	return d.db.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		t, err := tx.Exec(ctx, "UPDATE lease_replicas SET gone = clock_timestamp() WHERE id = $1 AND token = $2 AND gone IS NULL", r.id, r.token)
		if err != nil || t.RowsAffected() == 0 {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE lease_caps SET cap = 0, used = 0, held = 0 WHERE replica = $1 AND kind = 'slots'", r.id)
		return err
	})
}

// slid returns what replicas that are gone held of windows that have passed since. Their rows are locked: one that comes
// back meanwhile must not keep what was returned.
func (d *database) slid(ctx context.Context, now time.Time) error {
	return d.db.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "SELECT "+replicaColumns+` FROM lease_replicas r
WHERE gone < $1 AND EXISTS (SELECT 1 FROM lease_caps c WHERE c.replica = r.id AND c.kind = 'sliding' AND c.cap > 0) ORDER BY id FOR UPDATE`, now.Add(-returnTime(0)))
		if err != nil {
			return err
		}
		gone, err := collect(rows, scanReplica)
		if err != nil {
			return err
		}
		for _, r := range gone {
			passed := now.Sub(r.gone) - returnTime(0)
			_, err := tx.Exec(ctx, "UPDATE lease_caps SET cap = 0, used = 0, held = 0 WHERE replica = $1 AND kind = 'sliding' AND slides + slides / 20 < $2", r.id, int64(passed))
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// clean removes rows that say nothing any more.
func (d *database) clean(ctx context.Context, now time.Time) error {
	ended, old := now.Add(-endedTime).UnixNano(), now.Add(-endedTime)
	for _, q := range []struct {
		text string
		arg  any
	}{
		{"DELETE FROM lease_caps WHERE ends > 0 AND ends < $1", ended},
		{"DELETE FROM lease_pools WHERE ends > 0 AND ends < $1", ended},
		{"DELETE FROM lease_caps WHERE kind <> 'period' AND cap = 0 AND used = 0 AND held = 0 AND seen < $1", old},
		// Should a replica ask for the pool in this moment, its row is made again: what counts are the caps.
		{"DELETE FROM lease_pools p WHERE ends = 0 AND till < $1 AND NOT EXISTS (SELECT 1 FROM lease_caps c WHERE c.name = p.name)", old},
		{"DELETE FROM lease_replicas r WHERE gone < $1 AND NOT EXISTS (SELECT 1 FROM lease_caps c WHERE c.replica = r.id)", old},
	} {
		if _, err := d.db.Exec(ctx, q.text, q.arg); err != nil {
			return err
		}
	}
	return nil
}
