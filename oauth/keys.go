package oauth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/tollgate/tollgate/internal/postgres"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger"
)

const (
	cachedMax          = 16 << 10               // credentials remembered, good and bad: a few megabytes
	badCachedFor       = 5 * time.Second        // a credential that was unknown is looked up again after this
	pollEvery          = 500 * time.Millisecond // how soon a change made by another process is seen
	sayEvery           = time.Second            // how often this process says that it has what there is
	offlineDefault     = 5 * time.Second        // without contact with the database: then a revocation may have been missed for so long
	storeTime          = 10 * time.Second       // for reading all keys, whatever becomes of the request that had them changed
	confirmGap         = 5 * time.Millisecond   // before it is asked again whether a change is in force everywhere; doubled up to pollEvery
	credentialBytesMax = 4 << 10                // of a credential: longer ones are no key of ours and not worth hashing
	graceMax           = 90 * 24 * time.Hour    // of a rotation: a secret that lives longer was not rotated
)

// KeysConfig opens Keys.
type KeysConfig struct {
	Path     string            // of the file of minted keys, such as data/keys.db
	Database *postgres.DB      // instead of Path: the minted keys of several gateways. It is not closed
	Serving  bool              // calls are authenticated by these keys: a revocation in the same Database waits until it is in force here
	Offline  time.Duration     // without contact with the database, after which minted keys are refused; 0: 5 seconds
	Pepper   []byte            // of Pepper or DerivePepper
	Declared []KeySpec         // those of the config
	Teams    map[string]string // customer by team
	Log      *slog.Logger      // nil: slog.Default
	Now      func() time.Time  // nil: time.Now
	OnChange func()            // called after keys changed, by whatever way, but not for opening; never concurrently with itself. It may call List

	poll time.Duration // 0: pollEvery
}

// Keys holds all virtual keys: those declared in the config and those minted at run time. Safe for concurrent use.
//
// A lookup does no I/O: every key is in memory, by a keyed hash of its secret. Changes by this process are in force when
// the method that makes them returns, changes by another process within a second. When there was no contact with the
// database for a while (KeysConfig.Offline), minted keys are refused until there is: one of them may have been revoked.
type Keys struct {
	log      *slog.Logger
	now      func() time.Time
	onChange func()
	hasher   *hasher
	store    *store
	contact  *contact
	cache    *ristretto.Cache[string, *found]
	table    atomic.Pointer[table]

	mu    sync.Mutex // held while a table is made from another, and while the database is changed
	stale bool       // guarded by mu, as is seen: the database may hold what the table does not
	seen  int64      // version of the database that the table was made from

	changed chan struct{} // asks for onChange; one slot, so that several changes are told as one
	woken   chan struct{} // asks to look at the database before it is time to; one slot
	stop    context.CancelFunc
	running sync.WaitGroup
}

// found is what a lookup found, kept by the SHA-256 of the credential. The cache tells two of its keys apart by 128 bits
// of other hashes, so the whole SHA-256 stands here again.
type found struct {
	sum   [sha256.Size]byte
	table uint64 // number of the table it was looked up in: any change makes it worthless
	grant *grant // nil: none
}

// OpenKeys opens the database, checks every key and begins to watch for changes by others.
func OpenKeys(ctx context.Context, cfg KeysConfig) (*Keys, error) {
	if len(cfg.Pepper) != pepperBytes {
		return nil, fmt.Errorf("open keys: the pepper has %d bytes instead of %d", len(cfg.Pepper), pepperBytes)
	}
	k := &Keys{
		log: cfg.Log, now: cfg.Now, onChange: cfg.OnChange, hasher: newHasher(cfg.Pepper),
		changed: make(chan struct{}, 1), woken: make(chan struct{}, 1),
	}
	if k.log == nil {
		k.log = slog.Default()
	}
	if k.now == nil {
		k.now = time.Now
	}
	cfg.poll, cfg.Offline = cmp.Or(cfg.poll, pollEvery), cmp.Or(cfg.Offline, offlineDefault)
	if err := k.open(ctx, &cfg); err != nil {
		return nil, fmt.Errorf("open keys: %w", err)
	}
	return k, nil
}

func (k *Keys) open(ctx context.Context, cfg *KeysConfig) (err error) {
	asked := time.Now()
	if k.store, err = openStore(ctx, cfg, k.hasher); err != nil {
		return err
	}
	k.cache, err = ristretto.NewCache(&ristretto.Config[string, *found]{NumCounters: 10 * cachedMax, MaxCost: cachedMax, BufferItems: 64, IgnoreInternalCost: true})
	if err != nil {
		return errors.Join(err, k.store.close())
	}
	if err := k.replace(ctx, cfg.Declared, cfg.Teams); err != nil {
		k.cache.Close()
		return errors.Join(err, k.store.close())
	}
	<-k.changed // whoever opens knows
	k.contact = newContact(asked, cfg.Offline, k.inContact)
	ctx, k.stop = context.WithCancel(context.WithoutCancel(ctx))
	k.running.Go(func() { k.watch(ctx, cfg.poll) })
	k.running.Go(func() { k.store.listen(ctx, func() { wake(k.woken) }) })
	k.running.Go(func() { k.tell(ctx) })
	return nil
}

// openStore opens the database that cfg names. Changes by others wait for this process from before its keys are read.
func openStore(ctx context.Context, cfg *KeysConfig, h *hasher) (*store, error) {
	if cfg.Database == nil {
		f, err := openFile(ctx, cfg.Path, h)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", cfg.Path, err)
		}
		return &store{f}, nil
	}
	s, err := openShared(ctx, cfg.Database, h)
	if err != nil {
		return nil, err
	}
	if cfg.Serving {
		err = s.serve(ctx, cfg.Offline+sayEvery+2*cfg.poll)
	}
	return &store{s}, err
}

// Close stops watching and closes the database. Lookups go on with what is known.
func (k *Keys) Close() error {
	k.stop()
	k.running.Wait()
	k.contact.end()
	return k.store.close()
}

// Ready returns why minted keys are refused now, or nil.
func (k *Keys) Ready() error {
	if k.contact.lost() {
		return errors.New("minted keys are refused: there is no contact with their database")
	}
	return nil
}

// Declare replaces the declared keys and the teams, all or nothing.
func (k *Keys) Declare(ctx context.Context, specs []KeySpec, teams map[string]string) error {
	if err := k.replace(ctx, specs, teams); err != nil {
		return fmt.Errorf("declare keys: %w", err)
	}
	return nil
}

// List returns every key, revoked and disabled ones too: declared ones first, then in the order they were minted.
func (k *Keys) List() []Key { return slices.Clone(k.table.Load().keys) }

// Current reports whether the key with that id can be used now: what outlives a request asks it from time to time.
func (k *Keys) Current(id string) bool {
	h := k.table.Load().holders[id]
	return h != nil && h.live(k.now) && (h.key.Declared || !k.contact.lost())
}

// Mint makes a key from spec, whose ID and Secret must be empty, and returns it with its secret, which is kept nowhere.
func (k *Keys) Mint(ctx context.Context, spec KeySpec) (Key, secret.String, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t, now := k.table.Load(), k.now().UTC().Truncate(time.Millisecond)
	if err := checkMinted(t, &spec, now); err != nil {
		return Key{}, secret.String{}, fmt.Errorf("mint: %w", err)
	}
	spec.ID = ledger.NewID(now).String()
	spec.Expires = fromMillis(millis(spec.Expires))
	key := Key{KeySpec: spec, Created: now}
	text, stored := k.freshSecret()
	key.Shown = stored.shown
	switch inserted, err := k.store.insert(ctx, &key, stored); {
	case err != nil:
		k.stale = true // it may be stored all the same
		return Key{}, secret.String{}, fmt.Errorf("mint key %s: %w", spec.Name, err)
	case !inserted:
		return Key{}, secret.String{}, fmt.Errorf("mint: there is a key %s: revoke or rotate it, or choose another name", spec.Name)
	}
	return key, text, k.reload(ctx, t.declared, t.teams)
}

func checkMinted(t *table, spec *KeySpec, now time.Time) error {
	switch {
	case spec.ID != "" || !spec.Secret.Empty():
		return errors.New("id and secret of a minted key are chosen for it")
	case !spec.Expires.IsZero() && !now.Before(spec.Expires):
		return fmt.Errorf("key %s would be expired already", spec.Name)
	}
	if x := t.byName[spec.Name]; x != nil && x.key.Declared {
		return fmt.Errorf("the config declares a key %s: choose another name", spec.Name)
	}
	return spec.check(t.teams)
}

// Revoke ends a minted key, by its name or id, at once and for good. A key minted later with its name is another one. When
// it returns, every gateway that shares the database refuses the key: each has said so, or has been without contact for so
// long that it refuses all.
func (k *Keys) Revoke(ctx context.Context, nameOrID string) error {
	version, err := k.revoke(ctx, nameOrID)
	if err == nil {
		k.confirm(ctx, version)
	}
	return err
}

func (k *Keys) revoke(ctx context.Context, nameOrID string) (version int64, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.table.Load()
	key, err := t.minted(nameOrID)
	if err != nil {
		return 0, fmt.Errorf("revoke: %w", err)
	}
	if version, err = k.store.revoke(ctx, key.ID, k.now()); err != nil {
		k.stale = true
		return 0, fmt.Errorf("revoke key %s: %w", key.Name, err)
	}
	return version, k.reload(ctx, t.declared, t.teams)
}

// Rotate gives a minted key, by its name or id, a new secret; the one it has counts for grace longer. The key itself, its
// id and its balance stay. Like Revoke, it returns when the change is in force everywhere.
func (k *Keys) Rotate(ctx context.Context, nameOrID string, grace time.Duration) (Key, secret.String, error) {
	key, text, version, err := k.rotate(ctx, nameOrID, grace)
	if err == nil {
		k.confirm(ctx, version)
	}
	return key, text, err
}

func (k *Keys) rotate(ctx context.Context, nameOrID string, grace time.Duration) (key Key, text secret.String, version int64, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t, now := k.table.Load(), k.now()
	key, err = t.minted(nameOrID)
	if err == nil && (grace < 0 || grace > graceMax) {
		err = fmt.Errorf("the grace may be %s at most", graceMax)
	}
	if err != nil {
		return Key{}, text, 0, fmt.Errorf("rotate: %w", err)
	}
	fresh, stored := k.freshSecret()
	there, version, err := k.store.rotate(ctx, key.ID, stored, now, now.Add(grace))
	switch {
	case err != nil:
		k.stale = true
		return Key{}, text, 0, fmt.Errorf("rotate key %s: %w", key.Name, err)
	case !there:
		return Key{}, text, 0, fmt.Errorf("rotate: key %s has been revoked", key.Name)
	}
	if err := k.reload(ctx, t.declared, t.teams); err != nil {
		return Key{}, text, 0, err
	}
	key, err = k.table.Load().minted(key.ID)
	return key, fresh, version, err
}

// confirm waits until a change is in force in every process that takes calls. It ends, since one that is silent for long
// enough counts no more; and when ctx does, or the database does not answer any more: then this process cannot know, and
// those that cannot reach it either refuse in time.
func (k *Keys) confirm(ctx context.Context, version int64) {
	ctx, cancel := context.WithTimeout(ctx, k.contact.offline+sayEvery+2*pollEvery)
	defer cancel()
	for gap := confirmGap; ; gap = min(2*gap, pollEvery) {
		all, err := k.store.confirmed(ctx, version)
		if all && err == nil {
			return
		}
		pause := time.NewTimer(gap)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return
		}
	}
}

// minted finds a minted key that is not revoked.
func (t *table) minted(nameOrID string) (Key, error) {
	for _, key := range t.keys {
		if !key.Declared && key.Revoked.IsZero() && (key.ID == nameOrID || key.Name == nameOrID) {
			return key, nil
		}
	}
	if x := t.byName[nameOrID]; x != nil {
		return Key{}, fmt.Errorf("key %s is declared in the config: change it there", nameOrID)
	}
	return Key{}, fmt.Errorf("there is no key %s in force", strings.ToValidUTF8(nameOrID, "?"))
}

func (k *Keys) freshSecret() (secret.String, storedSecret) {
	text := newSecret()
	return text, storedSecret{digest: k.hasher.digest(text.Reveal()), shown: text.Reveal()[:shownChars]}
}

// replace puts the keys of the config in force instead of those before.
func (k *Keys) replace(ctx context.Context, specs []KeySpec, teams map[string]string) error {
	sealed, err := seal(specs, teams, k.hasher)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.reload(ctx, sealed, teams)
}

// reload makes a new table from what is declared and stored. The caller holds mu. It does not stop when the caller of
// the caller goes away: what is stored must come into force.
func (k *Keys) reload(ctx context.Context, declared []declared, teams map[string]string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	version, err := k.store.version(ctx)
	var rows []row
	if err == nil {
		rows, err = k.store.load(ctx)
	}
	if err != nil {
		k.stale = true
		return fmt.Errorf("read the minted keys: %w", err)
	}
	k.stale, k.seen = false, version
	return k.install(declared, teams, rows)
}

// install puts a new table in force. The caller holds mu.
func (k *Keys) install(declared []declared, teams map[string]string, rows []row) error {
	old := k.table.Load()
	t, err := build(old, declared, teams, rows)
	if err != nil {
		return err
	}
	k.table.Store(t)
	for _, key := range t.keys {
		if key.Disabled != "" && (old == nil || !slices.ContainsFunc(old.keys, func(o Key) bool { return o.ID == key.ID && o.Disabled == key.Disabled })) {
			k.log.Error("key is disabled", "key", key.Name, "id", key.ID, "why", key.Disabled)
		}
	}
	wake(k.changed)
	return nil
}

// wake leaves a word in a channel of one slot.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// watch asks the database again and again whether another process has changed it.
func (k *Keys) watch(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var last said
	failed := false
	for {
		asked := time.Now()
		err := k.catchUp(ctx, &last)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			k.contact.stands(asked)
		case !failed:
			k.log.Error("changes of minted keys are not seen now", "error", err)
		}
		failed = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-k.woken:
		}
	}
}

// said is what this process has last said to have in force, and when.
type said struct {
	version int64
	at      time.Time
}

// catchUp reloads if the database is not as seen, and says what is in force: when that has changed, and now and then. What
// was not taken over stays unseen, so the next tick tries again.
func (k *Keys) catchUp(ctx context.Context, last *said) error {
	version, err := k.store.version(ctx)
	if err == nil {
		version, err = k.take(ctx, version)
	}
	if err != nil || version == last.version && time.Since(last.at) < sayEvery {
		return err
	}
	now := time.Now() // before: others count this process's silence from when the database was told
	if err := k.store.applied(ctx, version); err != nil {
		return err
	}
	*last = said{version, now}
	return nil
}

// take reloads the keys unless they are those of that version, and returns the version they are then of. Where they are not,
// it is asked for again: it may be from before a change of this process, which is in force.
func (k *Keys) take(ctx context.Context, version int64) (inForce int64, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if version != k.seen {
		if version, err = k.store.version(ctx); err != nil {
			return 0, err
		}
	}
	if version != k.seen || k.stale {
		t := k.table.Load()
		err = k.reload(ctx, t.declared, t.teams)
	}
	return k.seen, err
}

// inContact is told when contact with the database is lost or is back.
func (k *Keys) inContact(is bool) {
	if is {
		k.log.Info("minted keys are in force again: their database answers")
	} else {
		k.log.Error("minted keys are refused until their database answers")
	}
	wake(k.changed)
}

// tell calls onChange after changes, outside of all locks.
func (k *Keys) tell(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.changed:
			if k.onChange != nil {
				k.onChange()
			}
		}
	}
}

// lookup returns the grant whose secret text is, live or not, or nil. A miss costs what a hit without the cache does.
func (k *Keys) lookup(text string) *grant {
	if len(text) > credentialBytesMax {
		return nil
	}
	c := k.hasher.take(text)
	defer k.hasher.give(c)
	t, sum := k.table.Load(), sha256.Sum256(c.text)
	name := string(sum[:])
	if f, ok := k.cache.Get(name); ok && f.table == t.number && f.sum == sum {
		return f.grant
	}
	if looksMinted(text) && !wellFormed(c.text) {
		return nil
	}
	d := c.digest()
	g, ttl := t.grants[d], time.Duration(0) // as long as there is room
	if g == nil || subtle.ConstantTimeCompare(g.digest[:], d[:]) != 1 {
		g, ttl = nil, badCachedFor
	}
	k.cache.SetWithTTL(name, &found{sum: sum, table: t.number, grant: g}, 1, ttl)
	return g
}
