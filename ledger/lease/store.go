package lease

import (
	"context"
	"errors"
	"time"

	"github.com/tollgate/tollgate/ledger/caps"
)

// store is the database, or the model of it that tests have.
type store interface {
	// exchange does what settle says in one transaction. After an error it may have been done or not, unless it is undone.
	exchange(ctx context.Context, r *request) (*reply, error)
	// now reads the database's clock.
	now(ctx context.Context) (time.Time, error)
	// starved lists pools of which the replica holds a cap, and another starves.
	starved(ctx context.Context, id string) ([]caps.Key, error)
	// uses is what all replicas but one told of what their calls took.
	uses(ctx context.Context, but string) (map[caps.Key]caps.Use, error)
	// watch calls heard when another starves, or when the replica, which starves, may have been given something, until ctx
	// ends. It may return at once, or miss some.
	watch(ctx context.Context, id string, heard func(starved bool))
	// reap looks after those that are silent, if holder has the duty. monotonic is its clock.
	reap(ctx context.Context, holder string, w watched, monotonic time.Duration) error
}

// watched is what a replica saw of others that are silent, by id.
type watched map[string]sighting

// undone is an error of an exchange that has certainly not been done.
type undone struct{ error }

func (u undone) Unwrap() error { return u.error }

// maybeDone reports whether an exchange that ended with err may have been done all the same.
func maybeDone(err error) bool {
	_, not := errors.AsType[undone](err)
	return !not
}

// sighting is since when, by the monotonic clock, a replica's token is the same.
type sighting struct {
	token string
	since time.Duration
}

// overdue lists those of the live replicas that have been silent for too long by the database's clock, and also before the
// watcher's eyes: a database's clock may jump.
func (w watched) overdue(live []replicaRow, now time.Time, monotonic time.Duration) (out []replicaRow) {
	there := map[string]bool{}
	for _, r := range live {
		there[r.id] = true
		seen, ok := w[r.id]
		if !ok || seen.token != r.token {
			w[r.id] = sighting{r.token, monotonic}
			continue
		}
		if monotonic-seen.since >= r.silence && r.overdue(now) {
			out = append(out, r)
		}
	}
	for id := range w {
		if !there[id] {
			delete(w, id)
		}
	}
	return out
}

// overdue reports whether the replica has been silent for longer than it may serve.
func (r *replicaRow) overdue(now time.Time) bool { return now.After(r.seen.Add(r.silence)) }
