package peer

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tollgate/tollgate/internal/postgres"
)

const (
	// beatEvery is how often a replica says that it is there, and learns who else is.
	beatEvery = time.Second
	// graceOfDead is how long beyond its own word a replica is taken to be there: some beats may be late.
	graceOfDead = 2 * time.Second
	// lookEvery is how often the database is asked for a replica that is not known, at most.
	lookEvery = 200 * time.Millisecond
	// askTime bounds each question to the database.
	askTime = 2 * time.Second
	// keptRows is how long the row of a replica that ended without a word stays.
	keptRows = time.Hour
)

// rosterSteps make the table of replicas. A row is one start of one replica: what is in its memory ends with it.
var rosterSteps = []string{
	`CREATE TABLE replicas_addresses (id text PRIMARY KEY, address text NOT NULL, at timestamptz NOT NULL, silence interval NOT NULL)`,
}

// Roster is who is there and where, by the database that replicas share. Safe for concurrent use.
type Roster struct {
	db      *postgres.DB
	self    ID
	address string
	silence time.Duration
	log     *slog.Logger
	stop    context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex // guards what follows
	known  map[ID]string
	looked time.Time

	looking sync.Mutex // held while the database is asked
}

// Join puts this process, which others reach at address, on the roster. offline is how long it may be silent without having
// ended. Each start has a name of its own, so what names an earlier one leads nowhere.
func Join(ctx context.Context, db *postgres.DB, address string, offline time.Duration, log *slog.Logger) (*Roster, error) {
	if err := db.Migrate(ctx, "replicas", rosterSteps); err != nil {
		return nil, err
	}
	r := &Roster{db: db, self: ID(uuid.New()), address: address, silence: offline + graceOfDead, log: log}
	if err := r.beat(ctx); err != nil {
		return nil, fmt.Errorf("joining the other replicas: %w", err)
	}
	ctx, r.stop = context.WithCancel(context.WithoutCancel(ctx))
	r.running.Go(func() { r.run(ctx) })
	return r, nil
}

// Self is the name of this process.
func (r *Roster) Self() ID { return r.self }

// Address returns where a replica is; false: there is none of that name, or it has ended. One that is not known is asked
// for: it may have come in this moment. While the database does not answer, those that were there last are.
func (r *Roster) Address(id ID) (string, bool) {
	if address, ok := r.find(id); ok {
		return address, true
	}
	r.looking.Lock()
	defer r.looking.Unlock()
	if address, ok := r.find(id); ok || !r.mayLook() {
		return address, ok
	}
	if err := r.look(context.Background()); err != nil {
		r.log.Warn("the list of replicas could not be read", "err", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looked = time.Now() // again: whoever waited behind a database that hangs does not ask it, too
	address, ok := r.known[id]
	return address, ok
}

func (r *Roster) find(id ID) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	address, ok := r.known[id]
	return address, ok
}

// mayLook reports whether the last look is long enough ago, and makes now the time of it.
func (r *Roster) mayLook() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.looked) < lookEvery {
		return false
	}
	r.looked = time.Now()
	return true
}

// Others is how many other replicas there are.
func (r *Roster) Others() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.known) - 1
}

// Leave takes this process off the roster. When the database cannot be told, silence tells in time.
func (r *Roster) Leave() {
	r.stop()
	r.running.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	if _, err := r.db.Exec(ctx, "DELETE FROM replicas_addresses WHERE id = $1 OR at < now() - $2::interval", r.self.String(), keptRows); err != nil {
		r.log.Warn("the other replicas cannot be told that this one has ended", "err", err)
	}
}

func (r *Roster) run(ctx context.Context) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := r.beat(ctx)
		if err != nil && !failed && ctx.Err() == nil {
			r.log.Warn("the other replicas cannot be told that this one is there", "err", err)
		}
		failed = err != nil
	}
}

// beat says that this process is there, and learns who else is.
func (r *Roster) beat(ctx context.Context) error {
	asking, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	_, err := r.db.Exec(asking, `INSERT INTO replicas_addresses (id, address, at, silence) VALUES ($1, $2, now(), $3)
		ON CONFLICT (id) DO UPDATE SET at = excluded.at`, r.self.String(), r.address, r.silence)
	if err != nil {
		return err
	}
	return r.look(ctx)
}

// look learns who is there.
func (r *Roster) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	rows, err := r.db.Query(ctx, "SELECT id, address FROM replicas_addresses WHERE at + silence > now()")
	if err != nil {
		return err
	}
	defer rows.Close()
	found := map[ID]string{}
	for rows.Next() {
		var text, address string
		if err := rows.Scan(&text, &address); err != nil {
			return err
		}
		if id, err := uuid.Parse(text); err == nil {
			found[ID(id)] = address
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known = found
	return nil
}
