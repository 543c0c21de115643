package subject

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate/tollgate/internal/postgres"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger/tables"
)

// Kind says whose name a subject has.
type Kind int64

// A subject is a person, or a key that acts for none. The numbers are stored: they never change.
const (
	User Kind = 1
	Key  Kind = 2 // its name is the key's id
)

func (k Kind) prefix() string {
	if k == Key {
		return "k_"
	}
	return "u_"
}

func (k Kind) String() string {
	if k == Key {
		return "key"
	}
	return "user"
}

const (
	// knownMax bounds the subjects in memory, some 300 bytes each; beyond it they are looked up anew.
	knownMax = 200_000
	// pollGap is how often the erasures of other gateways are asked for.
	pollGap = time.Second
	// askTime bounds what a call may wait for the store when its user is new.
	askTime = 5 * time.Second
	// namesMax is how many names are asked for in one statement.
	namesMax = 500
	// listMax is how many subjects List reads in one statement.
	listMax = 1000
)

// Config opens Subjects. KEK is required.
type Config struct {
	Path     string       // the SQLite file; not used with Database
	Database *postgres.DB // shared by several gateways; nil: a file

	KEK    []byte // KeyBytes long; what all is sealed with in the end
	Before []byte // the KEK before a rotation; empty: none

	Log *slog.Logger // nil: silent
	Now func() time.Time
}

// Subjects are who stands behind pseudonyms. All methods are safe for concurrent use.
type Subjects struct {
	store store
	cfg   Config
	keys  atomic.Pointer[keys]

	// learning is held while the store is asked for a subject that goes into memory, and while one is taken out, so that
	// none goes in that was erased meanwhile.
	learning sync.Mutex
	heard    int64 // version of the store up to which erasures are known; guarded by learning

	mu    sync.RWMutex // guards what follows
	users map[string]*known
	byKey map[string]*known // by the id of a key
	byID  map[string]*known
}

// known is a subject in memory. It is not changed.
type known struct {
	id, name string
	kind     Kind
	dataKey  []byte
	held     bool
	since    time.Time
}

// Subject is who stands behind a pseudonym.
type Subject struct {
	ID    string    `json:"id"`
	Kind  string    `json:"kind"` // "user" or "key"
	Name  string    `json:"name"` // of a key: its id
	Held  bool      `json:"held"` // may not be erased
	Since time.Time `json:"since"`
}

// What can be wrong with a subject that is asked for.
var (
	ErrUnknown = errors.New("no such subject")
	ErrErased  = errors.New("the subject was erased")
	ErrHeld    = errors.New("the subject is on hold")
)

// Open opens the tables and makes them if need be. It refuses when neither KEK opens what is stored.
func Open(ctx context.Context, cfg Config) (*Subjects, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if len(cfg.KEK) != KeyBytes || len(cfg.Before) != 0 && len(cfg.Before) != KeyBytes {
		return nil, fmt.Errorf("open subjects: the key-encryption key must have %d bytes", KeyBytes)
	}
	db, err := place(cfg)
	if err != nil {
		return nil, fmt.Errorf("open subjects: %w", err)
	}
	s := &Subjects{store: store{db}, cfg: cfg}
	s.clear()
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open subjects: %w", err), db.Close())
	}
	return s, nil
}

func place(cfg Config) (*tables.DB, error) {
	if cfg.Database != nil {
		return tables.Shared(cfg.Database), nil
	}
	return tables.File(cfg.Path)
}

func (s *Subjects) prepare(ctx context.Context) error {
	if err := s.store.db.Migrate(ctx, "subjects", steps); err != nil {
		return err
	}
	if err := s.store.begin(ctx, newRoot(1, s.cfg.KEK, nil)); err != nil {
		return err
	}
	s.learning.Lock()
	defer s.learning.Unlock()
	version, err := s.readKeys(ctx)
	s.heard = version
	return err
}

// readKeys reads the keys in force.
func (s *Subjects) readKeys(ctx context.Context) (version int64, err error) {
	r, version, found, err := s.store.root(ctx)
	if err != nil || !found {
		return 0, errors.Join(err, errors.New("the root of its keys is missing"))
	}
	for _, kek := range [][]byte{s.cfg.KEK, s.cfg.Before} {
		if len(kek) > 0 && bytes.Equal(kekID(kek), r.kek) {
			k, err := r.open(kek)
			if err != nil {
				return 0, err
			}
			s.keys.Store(k)
			return version, nil
		}
	}
	return 0, errors.New("it is sealed with another key-encryption key: write that one as payloads.kek, or as payloads.kek_before if it was replaced")
}

// Close closes the file, if there is one.
func (s *Subjects) Close() error { return s.store.db.Close() }

// Run hears of what other gateways erase, until ctx ends. With a file there is nobody to hear of and it returns at once.
func (s *Subjects) Run(ctx context.Context) {
	if !s.store.db.SharedBySeveral() {
		return
	}
	tick := time.NewTicker(pollGap)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := s.Hear(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn("erasures of other gateways cannot be heard of", "err", err)
		}
	}
}

// Hear asks once what was erased since it was asked last, and forgets it.
func (s *Subjects) Hear(ctx context.Context) error {
	s.learning.Lock()
	defer s.learning.Unlock()
	r, version, _, err := s.store.root(ctx)
	if err != nil || version == s.heard {
		return err
	}
	ids, err := s.store.news(ctx, s.heard)
	if err != nil {
		return err
	}
	for _, id := range ids {
		s.forget(id)
	}
	if r.generation != s.keys.Load().generation {
		if _, err := s.readKeys(ctx); err != nil {
			return err
		}
	}
	s.heard = version
	return nil
}

func (s *Subjects) clear() {
	s.users, s.byKey, s.byID = map[string]*known{}, map[string]*known{}, map[string]*known{}
}

// names is the map from names of a kind. The caller holds mu.
func (s *Subjects) names(kind Kind) map[string]*known {
	if kind == Key {
		return s.byKey
	}
	return s.users
}

func (s *Subjects) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.byID[id]; k != nil {
		delete(s.byID, id)
		delete(s.names(k.kind), k.name)
	}
}

func (s *Subjects) remember(k *known) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.byID) >= knownMax {
		s.clear()
	}
	s.byID[k.id] = k
	s.names(k.kind)[k.name] = k
}

// Pseudonym is what stands in entries for the user of this name. A new user is stored first.
func (s *Subjects) Pseudonym(name string) (string, error) {
	s.mu.RLock()
	k := s.users[name]
	s.mu.RUnlock()
	if k != nil {
		return k.id, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	k, err := s.learn(ctx, User, name, true)
	if err != nil {
		return "", err
	}
	return k.id, nil
}

// OfKey is the pseudonym of the key with this id, as the subject of payloads. A new one is stored first.
func (s *Subjects) OfKey(ctx context.Context, keyID string) (string, error) {
	s.mu.RLock()
	k := s.byKey[keyID]
	s.mu.RUnlock()
	if k != nil {
		return k.id, nil
	}
	k, err := s.learn(ctx, Key, keyID, true)
	if err != nil {
		return "", err
	}
	return k.id, nil
}

// learn finds the subject of a name in the store, and makes it if that is wanted and there is none.
func (s *Subjects) learn(ctx context.Context, kind Kind, name string, make bool) (*known, error) {
	name = strings.Clone(name)
	s.learning.Lock()
	defer s.learning.Unlock()
	s.mu.RLock()
	k := s.names(kind)[name]
	s.mu.RUnlock()
	if k != nil {
		return k, nil
	}
	return s.current(ctx, func(keys *keys) (*known, error) {
		r, found, err := s.store.find(ctx, keys.digest(kind, name))
		switch {
		case err != nil:
			return nil, err
		case !found && !make:
			// The digest may be one of before a rotation.
			if stored, _, _, err := s.store.root(ctx); err == nil && stored.generation != keys.generation {
				return nil, errGeneration
			}
			return nil, ErrUnknown
		case !found:
			if r, err = s.store.insert(ctx, keys.generation, keys.newRow(kind, name, s.cfg.Now().UnixMilli())); err != nil {
				return nil, err
			}
		}
		return s.opened(keys, &r)
	})
}

// current runs fn with the keys in force: when it finds that they were rotated, it runs again with the new ones. The caller
// holds learning.
func (s *Subjects) current(ctx context.Context, fn func(*keys) (*known, error)) (*known, error) {
	k, err := fn(s.keys.Load())
	if !errors.Is(err, errGeneration) && !errors.Is(err, secret.ErrSealed) {
		return k, err
	}
	if _, err := s.readKeys(ctx); err != nil {
		return nil, err
	}
	return fn(s.keys.Load())
}

// opened is a row in memory, where it is kept.
func (s *Subjects) opened(keys *keys, r *row) (*known, error) {
	name, err := keys.names.Open(r.name, r.id)
	if err != nil {
		return nil, fmt.Errorf("read subject %s: %w", r.id, err)
	}
	dataKey, err := keys.dataKeys.Open(r.key, r.id)
	if err != nil {
		return nil, fmt.Errorf("read subject %s: %w", r.id, err)
	}
	k := &known{id: r.id, name: string(name), kind: r.kind, dataKey: dataKey, held: r.held != 0, since: time.UnixMilli(r.created).UTC()}
	s.remember(k)
	return k, nil
}

// byPseudonym finds a subject; ErrUnknown, or ErrErased with the time.
func (s *Subjects) byPseudonym(ctx context.Context, id string, fresh bool) (*known, error) {
	s.mu.RLock()
	k := s.byID[id]
	s.mu.RUnlock()
	if k != nil && !fresh {
		return k, nil
	}
	s.learning.Lock()
	defer s.learning.Unlock()
	rows, err := s.store.get(ctx, []string{id})
	if err != nil {
		return nil, fmt.Errorf("read subject %s: %w", id, err)
	}
	if len(rows) > 0 {
		return s.current(ctx, func(keys *keys) (*known, error) { return s.opened(keys, &rows[0]) })
	}
	at, erased, err := s.store.erased(ctx, id)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read subject %s: %w", id, err)
	case erased:
		s.forget(id)
		return nil, fmt.Errorf("%w: %s, on %s", ErrErased, id, at.Format(time.RFC3339))
	}
	return nil, fmt.Errorf("%w: %s", ErrUnknown, id)
}

// DataKey is the key that the payloads of a subject are encrypted with. The slice must not be changed.
func (s *Subjects) DataKey(ctx context.Context, id string) ([]byte, error) {
	k, err := s.byPseudonym(ctx, id, false)
	if err != nil {
		return nil, err
	}
	return k.dataKey, nil
}

// TokenKey keys what stands in payloads for personal data. It stays through rotations and erasures.
func (s *Subjects) TokenKey() []byte { return s.keys.Load().tokens }
