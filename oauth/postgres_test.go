package oauth

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/secret"
)

// When a revocation has returned, no gateway takes the key any more: nothing is waited for here.
func TestRevocationReturnsWhenEveryGatewayRefusesTheKey(t *testing.T) {
	a := openOnServer(t, nil)
	b := a.beside(nil)
	c := a.beside(func(c *KeysConfig) { c.Database.WithoutNotices() }) // it polls
	for i := range 5 {
		_, text := a.mint(KeySpec{Name: fmt.Sprint("bot-", i)})
		for _, d := range []*desk{b, c} {
			until(t, "a minted key", func() bool { return d.who(text) != nil })
		}
		from := []*desk{a, b, c}[i%3]
		if err := from.Revoke(t.Context(), fmt.Sprint("bot-", i)); err != nil {
			t.Fatal(err)
		}
		for name, d := range map[string]*desk{"a": a, "b": b, "c": c} {
			if d.who(text) != nil {
				t.Errorf("%s takes a key whose revocation has returned", name)
			}
		}
	}
	// A rotation without grace is one, too.
	_, text := b.mint(KeySpec{Name: "turned"})
	until(t, "a minted key", func() bool { return c.who(text) != nil })
	if _, _, err := a.Rotate(t.Context(), "turned", 0); err != nil {
		t.Fatal(err)
	}
	if b.who(text) != nil || c.who(text) != nil {
		t.Error("the secret before a rotation without grace is taken")
	}
}

// until polls for what comes by itself in a moment.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not seen", what)
		}
	}
}

// A gateway that died is waited for until it would refuse minted keys if it lived, and no longer.
func TestRevocationDoesNotWaitForTheDead(t *testing.T) {
	a := openOnServer(t, func(c *KeysConfig) { c.Offline = 50 * time.Millisecond })
	_, text := a.mint(KeySpec{Name: "bot"})
	a.sql("INSERT INTO keys_gateways VALUES ('dead', 0, now(), '100ms')")
	if all, err := a.store.confirmed(t.Context(), 1); all || err != nil {
		t.Errorf("a gateway that has not said so is taken to have the change: %v, %v", all, err)
	}
	until(t, "that it is silent for too long", func() bool { all, err := a.store.confirmed(t.Context(), 1); return all && err == nil })
	a.sql("UPDATE keys_gateways SET silence = '1 hour' WHERE id = 'dead'") // by its own word; ours ends before
	if err := a.Revoke(t.Context(), "bot"); err != nil || a.who(text) != nil {
		t.Errorf("revoked: %v", err)
	}
	a.sql("UPDATE keys_gateways SET at = now() - interval '2 hours' WHERE id = 'dead'")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	n := -1
	if err := a.db.QueryRow(t.Context(), "SELECT count(*) FROM keys_gateways").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d gateways are left, %v", n, err)
	}
}

func TestOneNameIsMintedOnce(t *testing.T) {
	desks := []*desk{openOnServer(t, nil)}
	for range 2 {
		desks = append(desks, desks[0].beside(nil))
	}
	for i := range 5 {
		var minted atomic.Int32
		var wg sync.WaitGroup
		for _, d := range desks {
			wg.Go(func() {
				_, _, err := d.Mint(t.Context(), KeySpec{Name: fmt.Sprint("bot-", i)})
				switch {
				case err == nil:
					minted.Add(1)
				case !strings.Contains(err.Error(), "there is a key"):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if minted.Load() != 1 {
			t.Errorf("a name was minted %d times", minted.Load())
		}
	}
}

// Without contact minted keys are refused, known or not, with a word that they may be good; they are in force again by
// themselves, and what was revoked meanwhile is not.
func TestContactIsLostAndComesBack(t *testing.T) {
	changed := make(chan struct{}, 100)
	a := openOnServer(t, func(c *KeysConfig) {
		c.OnChange, c.poll, c.Offline = func() { changed <- struct{}{} }, time.Millisecond, 2*time.Second
		c.Declared = []KeySpec{declaredKey("d", "any-string-of-20-chars")}
	})
	_, stays := a.mint(KeySpec{Name: "stays"})
	goes, text := a.mint(KeySpec{Name: "goes"})
	if err := a.Ready(); err != nil {
		t.Error(err)
	}
	a.sql("ALTER TABLE keys_state RENAME TO elsewhere")
	eventually(t, changed, "that contact is lost", func() bool { return a.who(stays) == nil })
	for _, credential := range []string{stays, text, newSecret().Reveal()} {
		_, err := NewAuthenticator(a.Keys, "").Authenticate(arrive(loopback, "Authorization", "Bearer "+credential))
		if r := (*Refusal)(nil); !errors.As(err, &r) || r.Status != http.StatusServiceUnavailable {
			t.Errorf("%v", err)
		}
	}
	if a.who("any-string-of-20-chars") == nil || a.Current(goes.ID) || a.Ready() == nil {
		t.Error("a declared key is refused, or a minted one is current, or the keys are ready")
	}
	a.sql("UPDATE keys_minted SET revoked = 1 WHERE name = 'goes'")
	a.sql("UPDATE elsewhere SET version = version + 1")
	a.sql("ALTER TABLE elsewhere RENAME TO keys_state")
	eventually(t, changed, "that contact is back", func() bool { return a.who(stays) != nil })
	if a.who(text) != nil || a.Ready() != nil {
		t.Error("a key that was revoked meanwhile is taken, or the keys are not ready")
	}
}

func TestAnotherSecretKeyIsRefused(t *testing.T) {
	a := openOnServer(t, nil)
	other, err := DerivePepper(secret.New(strings.Repeat("x", 32)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = OpenKeys(t.Context(), KeysConfig{Database: a.db, Pepper: other})
	if err == nil || !strings.Contains(err.Error(), "another secret_key") {
		t.Error(err)
	}
}

// A file of the version before is taken over as it is.
func TestOlderFileIsTakenOver(t *testing.T) {
	a := open(t, nil)
	_, text := a.mint(KeySpec{Name: "bot"})
	a.sql("ALTER TABLE keys_minted RENAME TO keys")
	a.sql("ALTER TABLE keys_secrets RENAME TO secrets")
	a.sql("PRAGMA user_version = 1")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	again := a.beside(nil)
	if again.who(text) == nil {
		t.Error("a key is lost")
	}
	again.sql("PRAGMA user_version = 99")
	if _, err := OpenKeys(t.Context(), KeysConfig{Path: a.path, Pepper: pepper}); err == nil || !strings.Contains(err.Error(), "run the newer program") {
		t.Error(err)
	}
}

// What a database of several gateways holds is of no use to who reads it.
func TestDatabaseHoldsNoSecret(t *testing.T) {
	a := openOnServer(t, nil)
	_, text := a.mint(KeySpec{Name: "bot"})
	for _, table := range []string{"keys_minted", "keys_secrets", "keys_state", "keys_gateways"} {
		rows, err := a.db.Query(t.Context(), "SELECT * FROM "+table)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			for _, v := range rows.RawValues() {
				if bytes.Contains(v, []byte(text[shownChars:])) {
					t.Errorf("%s holds the secret", table)
				}
			}
		}
		if err := rows.Err(); err != nil {
			t.Error(err)
		}
	}
}
