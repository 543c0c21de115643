package subject

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"strings"

	"github.com/tollgate/tollgate/internal/secret"
)

// KeyBytes is the length of the key-encryption key, and of all others here.
const KeyBytes = secret.BoxKeyBytes

// keys are what the root of one generation is stretched into. They are not changed.
type keys struct {
	generation int64
	index      []byte // of the digests that subjects are found by
	names      secret.Box
	dataKeys   secret.Box
	tokens     []byte // see Subjects.TokenKey; the same in all generations
}

// root is what keys come from, as it is stored: sealed with the KEK.
type root struct {
	generation int64
	kek        []byte // which KEK it is sealed with
	sealed     []byte
}

// kekID tells KEKs apart without telling anything of them.
func kekID(kek []byte) []byte { return derive(kek, "id of a key-encryption key")[:8] }

func derive(key []byte, label string) []byte {
	out, err := hkdf.Key(sha256.New, key, nil, "tollgate subjects: "+label, KeyBytes)
	if err != nil { // it can only be asked for too many bytes
		panic(err)
	}
	return out
}

// newRoot makes the root of a generation, sealed with kek. tokens nil: they are made, too.
func newRoot(generation int64, kek, tokens []byte) root {
	text := make([]byte, 2*KeyBytes)
	_, _ = rand.Read(text)
	if tokens != nil {
		copy(text[KeyBytes:], tokens)
	}
	return root{generation, kekID(kek), secret.NewBox(derive(kek, "root")).Seal(text, "root")}
}

// open returns the keys of r, sealed with kek.
func (r *root) open(kek []byte) (*keys, error) {
	text, err := secret.NewBox(derive(kek, "root")).Open(r.sealed, "root")
	if err != nil || len(text) != 2*KeyBytes {
		return nil, secret.ErrSealed
	}
	key := text[:KeyBytes]
	return &keys{
		generation: r.generation, index: derive(key, "index"), tokens: text[KeyBytes:],
		names: secret.NewBox(derive(key, "names")), dataKeys: secret.NewBox(derive(key, "data keys")),
	}, nil
}

// digest is what a subject is found by.
func (k *keys) digest(kind Kind, name string) []byte {
	mac := hmac.New(sha256.New, k.index)
	mac.Write([]byte{byte(kind)})
	mac.Write([]byte(name))
	return mac.Sum(nil)
}

// pseudonymChars is the length of what comes after u_: a hundred random bits.
const pseudonymChars = 20

// newRow makes a subject that nobody knows yet.
func (k *keys) newRow(kind Kind, name string, now int64) row {
	id := kind.prefix() + strings.ToLower(rand.Text()[:pseudonymChars])
	dataKey := make([]byte, KeyBytes)
	_, _ = rand.Read(dataKey)
	return row{
		id: id, kind: kind, digest: k.digest(kind, name), created: now,
		name: k.names.Seal([]byte(name), id), key: k.dataKeys.Seal(dataKey, id),
	}
}

// again is r sealed with the keys of another generation.
func (k *keys) again(r row, from *keys) (row, error) {
	name, err := from.names.Open(r.name, r.id)
	if err != nil {
		return r, err
	}
	dataKey, err := from.dataKeys.Open(r.key, r.id)
	if err != nil {
		return r, err
	}
	r.digest, r.name, r.key = k.digest(r.kind, string(name)), k.names.Seal(name, r.id), k.dataKeys.Seal(dataKey, r.id)
	return r, nil
}
