package settings

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/llm/price"
)

// prepared reads a config of one text. Secrets are not looked for, as when only files are read.
func prepared(t *testing.T, text string) (*Setup, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tollgate.yaml")
	if err := os.WriteFile(path, []byte("version: 1\ndata: /nowhere\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Read(path)
	if err != nil {
		return nil, err
	}
	s.WithoutSecrets = true
	catalog, err := price.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	return Prepare(s, catalog)
}

const fourLines = `database: env:TEST_DATABASE
secret_key: env:TEST_SECRET_KEY
advertise: 10.0.0.5:8787
listen: 0.0.0.0:8787
`

func setReplicaSecrets(t *testing.T) {
	t.Setenv("TEST_DATABASE", "postgres://tollgate:hunter2%40@db.example:5432/ledger?sslmode=verify-full")
	t.Setenv("TEST_SECRET_KEY", strings.Repeat("k", secretKeyCharsMin))
	t.Setenv("TEST_SHORT", "short")
}

func TestReplicaSettings(t *testing.T) {
	setReplicaSecrets(t)
	s, err := prepared(t, fourLines)
	if err != nil {
		t.Fatal(err)
	}
	r := s.Replica
	if r.Place != "postgres://tollgate@db.example:5432/ledger" || r.Offline != 5*time.Second || r.Advertise != "10.0.0.5:8787" {
		t.Errorf("%+v", r)
	}
	var shown strings.Builder
	s.Describe(&shown, "x")
	if want := "one of several replicas: keys and limits in postgres://tollgate@db.example:5432/ledger"; !strings.Contains(shown.String(), want) || strings.Contains(shown.String(), "hunter2") {
		t.Errorf("check prints\n%s", shown.String())
	}
	if s, err := prepared(t, "database: postgres://tollgate@db/ledger\nsecret_key: env:TEST_SECRET_KEY\nadvertise: localhost:0\noffline: 60s"); err != nil || s.Replica.Offline != time.Minute {
		t.Errorf("a literal without a password: %v", err)
	}
	if s, err := prepared(t, ""); err != nil || s.Replica != nil {
		t.Errorf("without a database: %+v, %v", s, err)
	}
}

func TestReplicaFaults(t *testing.T) {
	setReplicaSecrets(t)
	with := func(old, new string) string { return strings.Replace(fourLines, old, new, 1) }
	for _, c := range []struct{ name, text, want string }{
		{"secret key alone", "secret_key: env:TEST_SECRET_KEY", "secret_key is for several replicas"},
		{"advertise alone", "advertise: 10.0.0.5:1", "advertise is for several replicas"},
		{"offline alone", "offline: 5s", "offline is for several replicas"},
		{"a password", with("env:TEST_DATABASE", "postgres://u:p@h/d"), "a password may not stand in the config itself"},
		{"a password as a parameter", with("env:TEST_DATABASE", "postgres://u@h/d?password=p"), "a password may not stand in the config itself"},
		{"another kind", with("env:TEST_DATABASE", "mysql://u@h/d"), "no other kind is supported"},
		{"no URL", with("env:TEST_DATABASE", `"postgres://u@h:port/d"`), "cannot be read"},
		{"no database", with("env:TEST_DATABASE", "postgres://u@h/"), "names no database"},
		{"unset", with("TEST_DATABASE", "NOT_SET_ANYWHERE"), "the environment has no variable NOT_SET_ANYWHERE"},
		{"no secret key", with("secret_key: env:TEST_SECRET_KEY", ""), "write secret_key: env:NAME"},
		{"a literal secret key", with("env:TEST_SECRET_KEY", "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"), "a secret may not stand in the config itself"},
		{"a short secret key", with("TEST_SECRET_KEY", "TEST_SHORT"), "fewer than 32 characters"},
		{"no advertise", with("advertise: 10.0.0.5:8787", ""), "write advertise: host:port"},
		{"every address", with("10.0.0.5:8787", "0.0.0.0:8787"), "is every address of this machine"},
		{"every address of IPv6", with("10.0.0.5:8787", `"[::]:8787"`), "is every address of this machine"},
		{"no port", with("10.0.0.5:8787", "10.0.0.5"), "is not an address that another machine can reach"},
		{"no host", with("10.0.0.5:8787", `":8787"`), "is not an address that another machine can reach"},
		{"a named port", with("10.0.0.5:8787", "10.0.0.5:http"), "is not an address that another machine can reach"},
		{"out of reach", with("0.0.0.0:8787", "127.0.0.1:8787"), "the other replicas cannot reach 10.0.0.5:8787"},
		{"too short", fourLines + "offline: 500ms", "offline may be 1s to 1m0s"},
		{"too long", fourLines + "offline: 61s", "offline may be 1s to 1m0s"},
	} {
		_, err := prepared(t, c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %q", c.name, err, c.want)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "kkkk")) {
			t.Errorf("%s: the error tells a secret: %v", c.name, err)
		}
	}
}

func TestWhatNeedsARestart(t *testing.T) {
	setReplicaSecrets(t)
	read := func(text string) *Setup {
		s, err := prepared(t, text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	before := read(fourLines)
	if err := before.Restart(read(fourLines + "unpriced: allow")); err != nil {
		t.Errorf("nothing that is fixed changed: %v", err)
	}
	for name, next := range map[string]*Setup{
		"advertise": read(strings.Replace(fourLines, "0.5", "0.6", 1)), "offline": read(fourLines + "offline: 6s"),
		"database": read(strings.Replace(fourLines, "env:TEST_DATABASE", "postgres://u@other/d", 1)),
	} {
		if err := before.Restart(next); err == nil || !strings.Contains(err.Error(), name+" changed") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := read("listen: 0.0.0.0:8787").Restart(before); err == nil {
		t.Error("a database is taken up without a restart")
	}
	t.Setenv("TEST_SECRET_KEY", strings.Repeat("l", secretKeyCharsMin))
	if err := before.Restart(read(fourLines)); err == nil || !strings.Contains(err.Error(), "the secret in secret_key changed") {
		t.Errorf("secret_key: %v", err)
	}
}

func TestSharedKeysAreApart(t *testing.T) {
	setReplicaSecrets(t)
	s, err := prepared(t, fourLines)
	if err != nil {
		t.Fatal(err)
	}
	k, err := s.Replica.Keys()
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.Replica.Keys()
	if err != nil {
		t.Fatal(err)
	}
	all := [][]byte{k.Pepper, k.Seal, k.Digest, k.Payload, k.Peers}
	for i, one := range all {
		if len(one) != sharedKeyBytes || !bytes.Equal(one, [][]byte{again.Pepper, again.Seal, again.Digest, again.Payload, again.Peers}[i]) {
			t.Errorf("key %d has %d bytes or is not the same each time", i, len(one))
		}
		for j := range i {
			if bytes.Equal(one, all[j]) {
				t.Errorf("keys %d and %d are the same", i, j)
			}
		}
	}
}
