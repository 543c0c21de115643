package oauth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/postgres"
	"github.com/tollgate/tollgate/internal/postgrestest"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/policy"
)

// desk is a set of keys with a clock that tests move.
type desk struct {
	*Keys
	t    *testing.T
	now  atomic.Int64 // nanoseconds since the epoch
	log  bytes.Buffer // guarded by slog's handler
	path string
	db   *postgres.DB // nil: the keys are in the file at path
}

var pepper = bytes.Repeat([]byte{7}, pepperBytes)

// opener opens keys in an empty database, unless change names one.
type opener func(t *testing.T, change func(*KeysConfig)) *desk

// both runs a test on each kind of database.
func both(t *testing.T, test func(t *testing.T, open opener)) {
	t.Run("file", func(t *testing.T) { test(t, open) })
	t.Run("postgres", func(t *testing.T) { test(t, openOnServer) })
}

// open opens keys in a file.
func open(t *testing.T, change func(*KeysConfig)) *desk {
	return openIn(t, KeysConfig{Path: filepath.Join(t.TempDir(), "keys.db")}, change)
}

// openOnServer opens keys on a PostgreSQL server, as a gateway that takes calls.
func openOnServer(t *testing.T, change func(*KeysConfig)) *desk {
	return openIn(t, KeysConfig{Database: connect(t, postgrestest.Database(t)), Serving: true}, change)
}

func connect(t *testing.T, url string) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(t.Context(), postgres.Config{URL: secret.New(url)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Pool.Close)
	return db
}

// beside opens the keys of the same database as d, as another process does.
func (d *desk) beside(change func(*KeysConfig)) *desk {
	at := KeysConfig{Path: d.path}
	if d.db != nil {
		at = KeysConfig{Database: connect(d.t, d.db.Config().ConnString()), Serving: true}
	}
	return openIn(d.t, at, change)
}

func openIn(t *testing.T, cfg KeysConfig, change func(*KeysConfig)) *desk {
	t.Helper()
	d := &desk{t: t, path: cfg.Path, db: cfg.Database}
	d.now.Store(time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano())
	cfg.Pepper, cfg.Now, cfg.Log = pepper, d.time, slog.New(slog.NewTextHandler(&d.log, nil))
	if change != nil {
		change(&cfg)
	}
	keys, err := OpenKeys(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	d.Keys = keys
	t.Cleanup(func() { _ = keys.Close() })
	return d
}

func (d *desk) time() time.Time       { return time.Unix(0, d.now.Load()) }
func (d *desk) pass(by time.Duration) { d.now.Add(int64(by)) }

func (d *desk) mint(spec KeySpec) (Key, string) {
	d.t.Helper()
	key, text, err := d.Mint(d.t.Context(), spec)
	if err != nil {
		d.t.Fatal(err)
	}
	return key, text.Reveal()
}

// who returns the principal that a bearer of text is, or nil.
func (d *desk) who(text string) *policy.Principal {
	d.t.Helper()
	r := arrive(loopback, "Authorization", "Bearer "+text)
	p, err := NewAuthenticator(d.Keys, "").Authenticate(r)
	if (p == nil) == (err == nil) {
		d.t.Fatalf("principal %v and error %v", p, err)
	}
	return p
}

var loopback = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8787}

func arrive(local net.Addr, headers ...string) *http.Request {
	r, _ := http.NewRequest(http.MethodPost, "/mcp", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local))
}

func declaredKey(name, text string) KeySpec { return KeySpec{Name: name, Secret: secret.New(text)} }

func TestMintedKeyHasItsPrincipal(t *testing.T) {
	both(t, func(t *testing.T, open opener) {
		d := open(t, func(c *KeysConfig) { c.Teams = map[string]string{"platform": "acme"} })
		key, text := d.mint(KeySpec{Name: "bot", Team: "platform", User: "ann", Tags: []string{"ci"}, Limits: []string{"5 USD / 1d"}, Models: `model.provider == "x"`})
		p := d.who(text)
		if p == nil || p.Key != "bot" || p.KeyID != key.ID || p.Team != "platform" || p.Customer != "acme" || p.User != "ann" || !slices.Equal(p.Tags, []string{"ci"}) || p.Narrow == nil {
			t.Fatalf("%+v", p)
		}
		listed := d.List()
		if len(listed) != 1 || listed[0].ID != key.ID || listed[0].Shown != text[:10] || !slices.Equal(listed[0].Limits, []string{"5 USD / 1d"}) {
			t.Errorf("%+v", listed)
		}
		if d.who(text[:len(text)-1]+"!") != nil || d.who("tg_sk_") != nil || d.who(strings.Repeat("x", 10_000)) != nil {
			t.Error("another key is taken for it")
		}
	})
}

func TestSecretIsKeptNowhere(t *testing.T) {
	d := open(t, nil)
	_, minted := d.mint(KeySpec{Name: "bot"})
	_, rotated, err := d.Rotate(t.Context(), "bot", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(filepath.Dir(d.path), func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		for _, text := range []string{minted, rotated.Reveal()} {
			if bytes.Contains(b, []byte(text)) || bytes.Contains(b, []byte(text[shownChars:])) {
				t.Errorf("%s contains the secret", p)
			}
		}
		if info, err := e.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v (%v)", p, info.Mode(), err)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range d.List() {
		if text := fmt.Sprintf("%+v %#v", key, key); strings.Contains(text, minted[shownChars:]) {
			t.Error(text)
		}
	}
}

func TestRevocationIsEffectiveAtOnce(t *testing.T) {
	both(t, func(t *testing.T, open opener) {
		d := open(t, nil)
		key, text := d.mint(KeySpec{Name: "bot"})
		for range 3 { // from the cache, too
			if d.who(text) == nil {
				t.Fatal("a live key is refused")
			}
			d.cache.Wait()
		}
		if err := d.Revoke(t.Context(), "bot"); err != nil {
			t.Fatal(err)
		}
		if d.who(text) != nil || d.Current(key.ID) {
			t.Error("a revoked key is accepted")
		}
		if err := d.Revoke(t.Context(), "bot"); err == nil || !strings.Contains(err.Error(), "no key bot in force") {
			t.Error(err)
		}
		if rows, err := d.store.load(t.Context()); err != nil || len(rows) != 1 || len(rows[0].secrets) != 0 {
			t.Errorf("the database still knows the secret: %v, %v", rows, err)
		}
		// A key of the same name is another one.
		again, other := d.mint(KeySpec{Name: "bot"})
		if again.ID == key.ID || d.who(text) != nil || d.who(other).KeyID != again.ID {
			t.Error("a re-created name inherits")
		}
		if l := d.List(); len(l) != 2 || l[0].Revoked.IsZero() || !l[1].Revoked.IsZero() {
			t.Errorf("%+v", l)
		}
	})
}

// A credential that was unknown must be known as soon as it is a key.
func TestUnknownIsForgottenWhenKeysChange(t *testing.T) {
	both(t, func(t *testing.T, open opener) {
		d := open(t, nil)
		const text = "a-secret-that-comes-later"
		if d.who(text) != nil {
			t.Fatal("known too early")
		}
		d.cache.Wait()
		if err := d.Declare(t.Context(), []KeySpec{declaredKey("late", text)}, nil); err != nil {
			t.Fatal(err)
		}
		if d.who(text) == nil {
			t.Error("still unknown")
		}
		d.cache.Wait()
		if err := d.Declare(t.Context(), nil, nil); err != nil {
			t.Fatal(err)
		}
		if d.who(text) != nil {
			t.Error("a key taken out of the config is accepted")
		}
	})
}

func TestRotationGivesGrace(t *testing.T) {
	both(t, func(t *testing.T, open opener) {
		d := open(t, nil)
		key, first := d.mint(KeySpec{Name: "bot"})
		rotated, s, err := d.Rotate(t.Context(), key.ID, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		second := s.Reveal()
		if p := d.who(second); p == nil || p != d.who(first) || p.KeyID != key.ID || rotated.Shown != second[:10] || !rotated.Grace.Equal(d.time().Add(time.Hour)) {
			t.Fatalf("%+v, %+v", p, rotated)
		}
		d.pass(time.Hour - time.Millisecond)
		if d.who(first) == nil {
			t.Error("the old secret ends before its grace")
		}
		d.pass(time.Millisecond)
		if d.who(first) != nil || d.who(second) == nil {
			t.Error("the old secret outlives its grace")
		}
		_, s, err = d.Rotate(t.Context(), "bot", 0)
		if err != nil || d.who(second) != nil || d.who(s.Reveal()) == nil {
			t.Errorf("without grace the old secret still counts (%v)", err)
		}
		if _, _, err := d.Rotate(t.Context(), "bot", graceMax+1); err == nil {
			t.Error("a grace without end is given")
		}
	})
}

func TestExpiryIsCheckedOnEveryHit(t *testing.T) {
	both(t, func(t *testing.T, open opener) {
		d := open(t, nil)
		end := d.time().Add(time.Hour)
		_, minted := d.mint(KeySpec{Name: "bot", Expires: end})
		spec := declaredKey("file-bot", "declared-secret-1234567890")
		spec.Expires = end
		if err := d.Declare(t.Context(), []KeySpec{spec}, nil); err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{minted, "declared-secret-1234567890"} {
			if d.who(text) == nil {
				t.Error("expired too early")
			}
		}
		d.cache.Wait()
		d.pass(time.Hour)
		for _, text := range []string{minted, "declared-secret-1234567890"} {
			if d.who(text) != nil {
				t.Error("an expired key is accepted")
			}
		}
		if _, _, err := d.Mint(t.Context(), KeySpec{Name: "late", Expires: end}); err == nil {
			t.Error("a key is minted that is expired already")
		}
	})
}

func TestDeclaredKeys(t *testing.T) {
	d := open(t, func(c *KeysConfig) {
		c.Declared = []KeySpec{declaredKey("a", "any-string-of-20-chars"), {Name: "b", ID: "b2", Secret: newSecret()}}
	})
	if p := d.who("any-string-of-20-chars"); p == nil || p.KeyID != "file:a" || p.Narrow != nil {
		t.Errorf("%+v", p)
	}
	for _, change := range []error{d.Revoke(t.Context(), "a"), second(d.Rotate(t.Context(), "a", 0)), second(d.Mint(t.Context(), KeySpec{Name: "a"}))} {
		if change == nil || !strings.Contains(change.Error(), "config") {
			t.Errorf("a declared key is changed at run time: %v", change)
		}
	}
}

func second(_ Key, _ secret.String, err error) error { return err }

func TestDeclareRefuses(t *testing.T) {
	const good = "any-string-of-20-chars"
	tests := []struct {
		name  string
		specs []KeySpec
		want  string
	}{
		{"short", []KeySpec{declaredKey("a", "only-19-characters-")}, "fewer than 20"},
		{"none", []KeySpec{declaredKey("a", "")}, "env:NAME"},
		{"space", []KeySpec{declaredKey("a", "any string of 20 chars")}, "printable"},
		{"typo", []KeySpec{declaredKey("a", "tg_sk_0000000000000000000000000000")}, "checksum"},
		{"name", []KeySpec{declaredKey("a b", good)}, "1 to 64"},
		{"same name", []KeySpec{declaredKey("a", good), declaredKey("a", good+"2")}, "declared twice"},
		{"same secret", []KeySpec{declaredKey("a", good), declaredKey("b", good)}, "keys a and b have the same secret"},
		{"same id", []KeySpec{{Name: "a", ID: "x", Secret: secret.New(good)}, {Name: "b", ID: "x", Secret: secret.New(good + "2")}}, "same id"},
		{"filter", []KeySpec{{Name: "a", Tools: "tool.", Secret: secret.New(good)}}, "tools"},
		{"customer", []KeySpec{{Name: "a", Team: "platform", Customer: "other", Secret: secret.New(good)}}, "belongs to customer acme"},
	}
	d := open(t, func(c *KeysConfig) { c.Declared = []KeySpec{declaredKey("keep", "the-key-that-must-stay")} })
	for _, test := range tests {
		err := d.Declare(t.Context(), test.specs, map[string]string{"platform": "acme"})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), good) {
			t.Errorf("%s: the error quotes the secret: %v", test.name, err)
		}
		if d.who("the-key-that-must-stay") == nil {
			t.Fatalf("%s: a config that is refused changed the keys", test.name)
		}
	}
}

func TestMintedKeyOfADeclaredNameIsDisabledLoudly(t *testing.T) {
	both(t, func(t *testing.T, open opener) {
		d := open(t, nil)
		_, text := d.mint(KeySpec{Name: "bot"})
		if err := d.Declare(t.Context(), []KeySpec{declaredKey("bot", "any-string-of-20-chars")}, nil); err != nil {
			t.Fatal(err)
		}
		if d.who(text) != nil {
			t.Error("the minted key still works")
		}
		if p := d.who("any-string-of-20-chars"); p == nil || p.KeyID != "file:bot" {
			t.Errorf("%+v", p)
		}
		l := d.List()
		if len(l) != 2 || l[1].Disabled == "" || !strings.Contains(d.log.String(), "key is disabled") {
			t.Errorf("%+v, log %q", l, d.log.String())
		}
		if err := d.Declare(t.Context(), nil, nil); err != nil || d.who(text) == nil {
			t.Errorf("it does not come back when the name is free (%v)", err)
		}
		if err := d.Declare(t.Context(), []KeySpec{declaredKey("bot", "any-string-of-20-chars")}, nil); err != nil {
			t.Fatal(err)
		}
		if err := d.Revoke(t.Context(), "bot"); err != nil || len(d.List()) != 2 || d.List()[1].Revoked.IsZero() {
			t.Errorf("a disabled key cannot be revoked: %v", err)
		}
	})
}

func TestMintRefuses(t *testing.T) {
	both(t, func(t *testing.T, open opener) {
		d := open(t, func(c *KeysConfig) { c.Teams = map[string]string{"platform": "acme"} })
		d.mint(KeySpec{Name: "taken"})
		for want, spec := range map[string]KeySpec{
			"there is a key taken":  {Name: "taken"},
			"1 to 64":               {Name: ""},
			"models":                {Name: "x", Models: "tool.server"},
			"belongs to":            {Name: "x", Team: "platform", Customer: "other"},
			"chosen for it":         {Name: "x", ID: "mine"},
			"chosen for it ":        {Name: "x", Secret: secret.New("any-string-of-20-chars")},
			"would be expired":      {Name: "x", Expires: d.time()},
			"1 to 64 letters":       {Name: "a/b"},
			"begins with a letter ": {Name: "-a"},
		} {
			if _, _, err := d.Mint(t.Context(), spec); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(want)) {
				t.Errorf("%+v: %v, want %q", spec, err, want)
			}
		}
		if len(d.List()) != 1 {
			t.Errorf("%+v", d.List())
		}
	})
}

func TestPrincipalStaysTheSameUntilItsKeyChanges(t *testing.T) {
	both(t, func(t *testing.T, open opener) {
		d := open(t, func(c *KeysConfig) { c.Teams = map[string]string{"platform": "acme"} })
		_, text := d.mint(KeySpec{Name: "bot", Team: "platform"})
		p := d.who(text)
		d.mint(KeySpec{Name: "other"})
		if _, _, err := d.Rotate(t.Context(), "other", 0); err != nil || d.who(text) != p {
			t.Errorf("a change of another key made a new principal (%v)", err)
		}
		if err := d.Declare(t.Context(), nil, map[string]string{"platform": "globex"}); err != nil {
			t.Fatal(err)
		}
		if q := d.who(text); q == p || q.Customer != "globex" || p.Customer != "acme" {
			t.Errorf("%+v, %+v", p, q)
		}
	})
}

// Another process, such as the command line, changes the same file.
func TestChangesByAnotherProcessAreSeen(t *testing.T) {
	both(t, func(t *testing.T, open opener) {
		changed := make(chan struct{}, 100)
		serve := open(t, func(c *KeysConfig) { c.OnChange = func() { changed <- struct{}{} } })
		cli := serve.beside(nil)
		_, text := cli.mint(KeySpec{Name: "bot"})
		eventually(t, changed, "a new key", func() bool { return serve.who(text) != nil })
		if err := cli.Revoke(t.Context(), "bot"); err != nil {
			t.Fatal(err)
		}
		eventually(t, changed, "a revocation", func() bool { return serve.who(text) == nil })
	})
}

// sql changes the database behind the back of d, but over its own connection, so that it seems unchanged.
func (d *desk) sql(statement string) {
	d.t.Helper()
	var err error
	if d.db != nil {
		_, err = d.db.Exec(d.t.Context(), statement)
	} else {
		_, err = d.store.tables().Exec(d.t.Context(), statement)
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

// cut ends the connection to the database for good.
func (d *desk) cut() {
	if d.db != nil {
		d.db.Pool.Close()
		return
	}
	if err := d.store.close(); err != nil {
		d.t.Fatal(err)
	}
}

// eventually waits for changes until ok holds.
func eventually(t *testing.T, changed <-chan struct{}, what string, ok func() bool) {
	t.Helper()
	for !ok() {
		select {
		case <-changed:
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: not seen", what)
		}
	}
}

const (
	breakLoad = "ALTER TABLE keys_secrets RENAME COLUMN shown TO gone" // the keys can be changed, but not be read
	mendLoad  = "ALTER TABLE keys_secrets RENAME COLUMN gone TO shown"
)

// A revocation that is stored but could not be put in force is an error, and comes into force as soon as it can.
func TestStoredRevocationComesIntoForce(t *testing.T) {
	both(t, func(t *testing.T, open opener) {
		changed := make(chan struct{}, 100)
		d := open(t, func(c *KeysConfig) {
			c.OnChange, c.poll, c.Offline = func() { changed <- struct{}{} }, time.Millisecond, 200*time.Millisecond
		})
		_, text := d.mint(KeySpec{Name: "bot"})
		_, other := d.mint(KeySpec{Name: "other"})
		d.sql(breakLoad)
		if err := d.Revoke(t.Context(), "bot"); err == nil {
			t.Error("the revocation seems done")
		}
		eventually(t, changed, "that the keys cannot be read", func() bool { return d.who(other) == nil })
		d.sql(mendLoad)
		eventually(t, changed, "that they can again", func() bool { return d.who(other) != nil })
		if d.who(text) != nil {
			t.Error("the revoked key works")
		}
	})
}

func TestMintedKeysAreRefusedWhileTheDatabaseCannotBeRead(t *testing.T) {
	both(t, func(t *testing.T, open opener) {
		changed := make(chan struct{}, 100)
		d := open(t, func(c *KeysConfig) {
			c.OnChange, c.poll, c.Offline = func() { changed <- struct{}{} }, time.Millisecond, 200*time.Millisecond
			c.Declared = []KeySpec{declaredKey("a", "any-string-of-20-chars")}
		})
		_, text := d.mint(KeySpec{Name: "bot"})
		d.cut()
		eventually(t, changed, "that the database is gone", func() bool { return d.who(text) == nil })
		if d.who("any-string-of-20-chars") == nil {
			t.Error("a declared key needs no database and is refused")
		}
	})
}

func TestABadRowDisablesItsKeyOnly(t *testing.T) {
	both(t, func(t *testing.T, open opener) {
		d := open(t, nil)
		_, bad := d.mint(KeySpec{Name: "bad"})
		_, short := d.mint(KeySpec{Name: "short"})
		_, good := d.mint(KeySpec{Name: "good"})
		d.sql("UPDATE keys_minted SET limits = '[' WHERE name = 'bad'")
		d.sql("UPDATE keys_secrets SET digest = " + map[bool]string{true: `'\\x00'`, false: "x'00'"}[d.db != nil] + " WHERE key_id = (SELECT id FROM keys_minted WHERE name = 'short')")
		if err := d.Declare(t.Context(), nil, nil); err != nil {
			t.Fatal(err)
		}
		if d.who(bad) != nil || d.who(short) != nil || d.who(good) == nil || d.List()[0].Disabled == "" {
			t.Errorf("%+v", d.List())
		}
	})
}

// The client of an administrative request leaves after its change was stored: it must come into force all the same.
func TestReloadOutlivesItsRequest(t *testing.T) {
	both(t, func(t *testing.T, open opener) {
		d := open(t, nil)
		_, text := d.mint(KeySpec{Name: "bot"})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := d.reloadUnder(ctx)
		if err != nil || d.who(text) == nil {
			t.Errorf("%v", err)
		}
	})
}

func (d *desk) reloadUnder(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.table.Load()
	return d.reload(ctx, t.declared, t.teams)
}

func TestOnChangeIsCalledForEveryKindOfChange(t *testing.T) {
	both(t, func(t *testing.T, open opener) {
		calls := make(chan struct{}, 10)
		d := open(t, func(c *KeysConfig) { c.OnChange = func() { calls <- struct{}{} } })
		changes := []func() error{
			func() error { _, _, err := d.Mint(t.Context(), KeySpec{Name: "bot"}); return err },
			func() error { _, _, err := d.Rotate(t.Context(), "bot", 0); return err },
			func() error { return d.Revoke(t.Context(), "bot") },
			func() error { return d.Declare(t.Context(), nil, map[string]string{"a": "b"}) },
		}
		for i, change := range changes {
			if len(calls) != 0 {
				t.Errorf("called before change %d", i)
			}
			if err := change(); err != nil {
				t.Fatal(err)
			}
			<-calls
		}
	})
}

func TestKeysOutliveTheProcess(t *testing.T) {
	both(t, func(t *testing.T, open opener) {
		first := open(t, nil)
		_, text := first.mint(KeySpec{Name: "bot", Tags: []string{"a"}})
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		again := first.beside(nil)
		if p := again.who(text); p == nil || p.Key != "bot" {
			t.Errorf("%+v", p)
		}
	})
}

func TestAnotherPepperIsRefused(t *testing.T) {
	d := open(t, nil)
	_, err := OpenKeys(t.Context(), KeysConfig{Path: d.path, Pepper: bytes.Repeat([]byte{8}, pepperBytes)})
	if err == nil || !strings.Contains(err.Error(), "another pepper") {
		t.Error(err)
	}
	if _, err := OpenKeys(t.Context(), KeysConfig{Path: d.path, Pepper: nil}); err == nil {
		t.Error("keys open without a pepper")
	}
}

// Two credentials that share a place in the cache must not share what is found there.
func TestCacheIsCheckedAgainstTheWholeHash(t *testing.T) {
	d := open(t, nil)
	_, mine := d.mint(KeySpec{Name: "mine"})
	_, yours := d.mint(KeySpec{Name: "yours"})
	d.who(yours)
	d.cache.Wait()
	f, ok := d.cache.Get(string(sum(yours)))
	if !ok {
		t.Fatal("nothing is cached")
	}
	d.cache.Set(string(sum(mine)), f, 1)
	d.cache.Wait()
	if p := d.who(mine); p == nil || p.Key != "mine" {
		t.Errorf("%+v", p)
	}
}

// Whatever a table holds, it is not the text of a secret: a lookup cannot compare one.
func TestTableHoldsNoSecret(t *testing.T) {
	d := open(t, func(c *KeysConfig) { c.Declared = []KeySpec{declaredKey("a", "any-string-of-20-chars")} })
	table := d.table.Load()
	for _, s := range table.declared {
		if !s.spec.Secret.Empty() {
			t.Error("the declared secret is kept")
		}
	}
	for _, g := range table.grants {
		if !g.holder.key.Secret.Empty() {
			t.Error("a secret is kept with its key")
		}
	}
	for _, key := range d.List() {
		if !key.Secret.Empty() {
			t.Error("a secret is listed")
		}
	}
}

func TestPepperFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pepper")
	const starts = 8
	peppers := make(chan []byte, starts)
	for range starts { // at once
		go func() {
			p, err := Pepper(path)
			if err != nil {
				t.Error(err)
			}
			peppers <- p
		}()
	}
	first := <-peppers
	for range starts - 1 {
		if p := <-peppers; !bytes.Equal(p, first) || len(p) != pepperBytes {
			t.Errorf("%x and %x", first, p)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("%v, %v", left, err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := Pepper(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Error(err)
	}
	if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, []byte("short"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := Pepper(path); err == nil || !strings.Contains(err.Error(), "5 bytes") {
		t.Error(err)
	}
	one, err1 := DerivePepper(secret.New("a"))
	two, err2 := DerivePepper(secret.New("b"))
	if len(one) != pepperBytes || bytes.Equal(one, two) || err1 != nil || err2 != nil {
		t.Errorf("%x, %x, %v, %v", one, two, err1, err2)
	}
}
