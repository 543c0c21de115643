package oauth

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"
)

func sum(text string) []byte { s := sha256.Sum256([]byte(text)); return s[:] }

func TestAuthenticate(t *testing.T) {
	const good, other = "any-string-of-20-chars", "another-string-of-20-chars"
	d := open(t, func(c *KeysConfig) { c.Declared = []KeySpec{declaredKey("a", good), declaredKey("b", other)} })
	_, revoked := d.mint(KeySpec{Name: "revoked"})
	if err := d.Revoke(t.Context(), "revoked"); err != nil {
		t.Fatal(err)
	}
	_, expired := d.mint(KeySpec{Name: "expired", Expires: d.time().Add(time.Minute)})
	d.pass(time.Minute)
	tests := []struct {
		name    string
		headers []string
		key     string // or
		status  int
	}{
		{"bearer", []string{"Authorization", "Bearer " + good}, "a", 0},
		{"bearer in small letters", []string{"authorization", "bearer  " + good + " "}, "a", 0},
		{"x-api-key", []string{"x-api-key", good}, "a", 0},
		{"api-key", []string{"api-key", good}, "a", 0},
		{"x-goog-api-key", []string{"x-goog-api-key", good}, "a", 0},
		{"x-tollgate-key", []string{"x-tollgate-key", good}, "a", 0},
		{"x-bf-vk", []string{"x-bf-vk", good}, "a", 0},
		{"the same in two", []string{"Authorization", "Bearer " + good, "x-api-key", good}, "a", 0},
		{"two different", []string{"Authorization", "Bearer " + good, "x-api-key", other}, "", 400},
		{"two Authorization", []string{"Authorization", "Bearer " + good, "Authorization", "Bearer " + good}, "", 400},
		{"two in one", []string{"Authorization", "Bearer " + good + ", Bearer " + good}, "", 401},
		{"none", nil, "", 401},
		{"empty", []string{"Authorization", "Bearer ", "x-api-key", ""}, "", 401},
		{"basic", []string{"Authorization", "Basic " + good}, "", 401},
		{"unknown", []string{"x-api-key", "nobody-knows-this-one"}, "", 401},
		{"unknown minted", []string{"x-api-key", newSecret().Reveal()}, "", 401},
		{"typo", []string{"x-api-key", "tg_sk_1234"}, "", 401},
		{"revoked", []string{"x-api-key", revoked}, "", 401},
		{"expired", []string{"x-api-key", expired}, "", 401},
		{"name of a key", []string{"x-api-key", "file:a"}, "", 401},
	}
	a := NewAuthenticator(d.Keys, "")
	for _, test := range tests {
		for range 2 { // the second time from the cache
			p, err := a.Authenticate(arrive(loopback, test.headers...))
			d.cache.Wait()
			if test.key != "" {
				if err != nil || p.Key != test.key {
					t.Errorf("%s: %v, %v", test.name, p, err)
				}
				continue
			}
			var refusal *Refusal
			if p != nil || !errors.As(err, &refusal) || refusal.Status != test.status {
				t.Errorf("%s: %v, %v, want %d", test.name, p, err, test.status)
			}
		}
	}
}

// What is wrong with a key is nobody's business: the refusals are the same, byte for byte.
func TestRefusalsOfBadKeysAreAlike(t *testing.T) {
	d := open(t, nil)
	_, revoked := d.mint(KeySpec{Name: "revoked"})
	if err := d.Revoke(t.Context(), "revoked"); err != nil {
		t.Fatal(err)
	}
	_, expired := d.mint(KeySpec{Name: "expired", Expires: d.time().Add(time.Minute)})
	d.pass(time.Minute)
	a := NewAuthenticator(d.Keys, "")
	texts := map[string]bool{}
	for _, text := range []string{revoked, expired, newSecret().Reveal(), "tg_sk_typo", "nobody-knows-this-one"} {
		_, err := a.Authenticate(arrive(loopback, "x-api-key", text))
		texts[fmt.Sprintf("%#v", err.(*Refusal).Text)] = true
	}
	if len(texts) != 1 {
		t.Errorf("%v", texts)
	}
}

func TestAnonymous(t *testing.T) {
	d := open(t, func(c *KeysConfig) { c.Declared = []KeySpec{declaredKey("guest", "any-string-of-20-chars")} })
	public := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 443}
	tests := []struct {
		anonymous string
		local     net.Addr
		headers   []string
		want      string
	}{
		{"guest", loopback, nil, "guest"},
		{"guest", public, nil, ""},
		{"guest", nil, nil, ""},
		{"guest", public, []string{"X-Forwarded-For", "127.0.0.1"}, ""},
		{"guest", loopback, []string{"x-api-key", "nobody-knows-this-one"}, ""}, // a bad key is not no key
		{"nobody", loopback, nil, ""},
		{"", loopback, nil, ""},
	}
	for _, test := range tests {
		p, err := NewAuthenticator(d.Keys, test.anonymous).Authenticate(arrive(test.local, test.headers...))
		if got := p; (got == nil) != (test.want == "") || got != nil && got.Key != test.want {
			t.Errorf("%+v: %v, %v", test, p, err)
		}
	}
}

func TestAuthenticateHardlyAllocates(t *testing.T) {
	d := open(t, nil)
	_, text := d.mint(KeySpec{Name: "bot"})
	a, r := NewAuthenticator(d.Keys, ""), arrive(loopback, "Authorization", "Bearer "+text)
	if _, err := a.Authenticate(r); err != nil {
		t.Fatal(err)
	}
	d.cache.Wait()
	if n := testing.AllocsPerRun(100, func() { _, _ = a.Authenticate(r) }); n > 3 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	keys, err := OpenKeys(b.Context(), KeysConfig{Path: filepath.Join(b.TempDir(), "keys.db"), Pepper: pepper})
	if err != nil {
		b.Fatal(err)
	}
	defer keys.Close()
	_, text, err := keys.Mint(b.Context(), KeySpec{Name: "bot"})
	if err != nil {
		b.Fatal(err)
	}
	a := NewAuthenticator(keys, "")
	for name, header := range map[string]string{"hit": text.Reveal(), "typo": "tg_sk_" + text.Reveal()[7:] + "x", "unknown": "nobody-knows-this-one"} {
		r := arrive(loopback, "Content-Type", "application/json", "Authorization", "Bearer "+header)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = a.Authenticate(r)
			}
		})
	}
	b.Run("without the cache", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			keys.hasher.digest(text.Reveal())
		}
	})
}
