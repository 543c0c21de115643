package oauth

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestNameOfUserIsTakenOffRevokedKeys(t *testing.T) {
	const canary = "annika.canary@example.org"
	both(t, func(t *testing.T, open opener) {
		d := open(t, nil)
		ctx := t.Context()
		gone, _, err := d.Mint(ctx, KeySpec{Name: "gone", User: canary})
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = d.Mint(ctx, KeySpec{Name: "other", User: "bea"})
		if err := errors.Join(err, d.Revoke(ctx, "gone"), d.Revoke(ctx, "other"), d.Unname(ctx, canary)); err != nil {
			t.Fatal(err)
		}
		_, _, err = d.Mint(ctx, KeySpec{Name: "live", User: canary})
		if err := errors.Join(err, d.Unname(ctx, "bea")); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"gone": "", "other": "", "live": canary}
		for _, k := range d.List() {
			if k.User != want[k.Name] {
				t.Errorf("%s acts for %q", k.Name, k.User)
			}
		}
		if d.path == "" {
			return
		}
		if err := errors.Join(d.Revoke(ctx, "live"), d.Unname(ctx, canary)); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(d.path + "*")
		if err != nil || len(files) < 2 {
			t.Fatal(files, err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil || bytes.Contains(b, []byte(canary)) {
				t.Errorf("%s names the user (%v)", f, err)
			}
			if filepath.Ext(f) == ".db" && !bytes.Contains(b, []byte(gone.ID)) {
				t.Errorf("%s has no keys: the test shows nothing", f)
			}
		}
	})
}
