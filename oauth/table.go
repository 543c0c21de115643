package oauth

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/tollgate/tollgate/policy"
)

// table is every key at one moment. It is never changed, only replaced; its number tells what was looked up in an older
// one.
type table struct {
	number   uint64
	declared []declared
	teams    map[string]string // customer by team
	grants   map[digest]*grant
	holders  map[string]*holder // by key id, the keys that are in force
	byName   map[string]*holder // likewise
	keys     []Key              // all of them, for lists
}

// holder is a key that is in force and its principal. The principal stays the same as long as nothing of the key changes,
// so that others may keep things by its address.
type holder struct {
	key       Key
	principal *policy.Principal
}

// grant is one secret of a key: a key has two of them for a while after a rotation.
type grant struct {
	digest digest
	holder *holder
	until  time.Time // zero: as long as the key
}

// live reports whether x can be used now. Most keys never expire: then the clock is not read.
func (x *holder) live(now func() time.Time) bool {
	return x.key.Expires.IsZero() || now().Before(x.key.Expires)
}

// live reports whether g's secret counts now.
func (g *grant) live(now func() time.Time) bool {
	return g.holder.live(now) && (g.until.IsZero() || now().Before(g.until))
}

// declared is a key of the config. Its secret is hashed and not kept.
type declared struct {
	spec   KeySpec
	digest digest
}

// seal checks the keys of the config and hashes their secrets.
func seal(specs []KeySpec, teams map[string]string, h *hasher) ([]declared, error) {
	sealed := make([]declared, 0, len(specs))
	names, ids, secrets := map[string]bool{}, map[string]string{}, map[digest]string{}
	for _, s := range specs {
		if s.ID == "" {
			s.ID = "file:" + s.Name
		}
		if err := errors.Join(s.check(teams), s.checkSecret()); err != nil {
			return nil, err
		}
		d := h.digest(s.Secret.Reveal())
		s.Secret = KeySpec{}.Secret
		switch {
		case names[s.Name]:
			return nil, fmt.Errorf("key %s is declared twice", s.Name)
		case ids[s.ID] != "":
			return nil, fmt.Errorf("keys %s and %s have the same id", ids[s.ID], s.Name)
		case secrets[d] != "":
			return nil, fmt.Errorf("keys %s and %s have the same secret", secrets[d], s.Name)
		}
		names[s.Name], ids[s.ID], secrets[d] = true, s.Name, s.Name
		sealed = append(sealed, declared{s, d})
	}
	return sealed, nil
}

// build makes the table that follows old, which is nil at first.
func build(old *table, keys []declared, teams map[string]string, rows []row) (*table, error) {
	t := &table{declared: keys, teams: teams, grants: map[digest]*grant{}, holders: map[string]*holder{}, byName: map[string]*holder{}}
	if old != nil {
		t.number = old.number + 1
	}
	for _, d := range keys {
		x, err := t.hold(old, Key{KeySpec: d.spec, Declared: true})
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", d.spec.Name, err)
		}
		t.grants[d.digest] = &grant{digest: d.digest, holder: x}
	}
	for _, r := range rows {
		t.addMinted(old, r)
	}
	return t, nil
}

// addMinted takes a stored key in. One that cannot be in force stays in the list, with the reason.
func (t *table) addMinted(old *table, r row) {
	key := r.key
	switch {
	case key.Disabled != "" || !key.Revoked.IsZero():
	case t.byName[key.Name] != nil:
		key.Disabled = "the config declares a key of this name: revoke this one, or rename one of them"
	case t.holders[key.ID] != nil:
		key.Disabled = "the config declares a key with this id"
	default:
		x, err := t.hold(old, key)
		if err == nil {
			t.grantAll(x, r.secrets)
			return
		}
		key.Disabled = err.Error()
	}
	t.keys = append(t.keys, key)
}

func (t *table) grantAll(x *holder, secrets []storedSecret) {
	for _, s := range secrets {
		if t.grants[s.digest] == nil { // else a declared key has this very secret, and it comes first
			t.grants[s.digest] = &grant{digest: s.digest, holder: x, until: s.until}
		}
	}
}

// hold puts key in force. It is the holder of the old table if nothing changed.
func (t *table) hold(old *table, key Key) (*holder, error) {
	customer, err := key.customer(t.teams)
	if err != nil {
		return nil, err
	}
	key.Customer = customer
	var x *holder
	if old != nil && old.holders[key.ID] != nil && reflect.DeepEqual(old.holders[key.ID].key, key) {
		x = old.holders[key.ID]
	} else {
		p, err := key.principal()
		if err != nil {
			return nil, err
		}
		x = &holder{key: key, principal: p}
	}
	t.holders[key.ID], t.byName[key.Name] = x, x
	t.keys = append(t.keys, key)
	return x, nil
}
