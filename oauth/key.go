package oauth

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/policy"
)

// secretCharsMin is the length of a secret declared in the config: shorter ones are guessed.
const secretCharsMin = 20

// KeySpec is what a virtual key stands for.
type KeySpec struct {
	Name     string    `json:"name"`
	ID       string    `json:"id"` // stable. Declared and empty: "file:" and the name, so that a key keeps its balance when its secret changes. Minted: a UUIDv7
	Customer string    `json:"customer,omitempty"`
	Team     string    `json:"team,omitempty"`
	User     string    `json:"user,omitempty"`
	Tags     []string  `json:"tags,omitempty"`
	Limits   []string  `json:"limits,omitempty"` // kept for whoever attaches them to the ledger
	Tools    string    `json:"tools,omitempty"`  // the key's own filters, see policy.CompileFilter
	Models   string    `json:"models,omitempty"`
	Expires  time.Time `json:"expires,omitzero"`

	// Secret is that of a declared key, already resolved. A minted key's is shown once, by Mint or Rotate, and kept
	// nowhere.
	Secret secret.String `json:"-"`
}

// Key is a virtual key as it stands.
type Key struct {
	KeySpec
	Declared bool      `json:"declared"`         // in the config; else minted at run time
	Shown    string    `json:"shown,omitempty"`  // the first characters of a minted key's present secret
	Created  time.Time `json:"created,omitzero"` // minted keys
	Revoked  time.Time `json:"revoked,omitzero"` // minted keys
	Grace    time.Time `json:"grace,omitzero"`   // until when the secret before the last rotation still counts
	Disabled string    `json:"disabled,omitempty"`
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// check reports what is wrong with a spec, other than its secret.
func (s *KeySpec) check(teams map[string]string) error {
	if !nameForm.MatchString(s.Name) {
		return fmt.Errorf("key %q: a name has 1 to 64 letters, digits, dots, dashes or underscores and begins with a letter or digit", s.Name)
	}
	if _, err := s.customer(teams); err != nil {
		return fmt.Errorf("key %s: %w", s.Name, err)
	}
	if _, err := policy.CompileFilter(s.Tools, s.Models); err != nil {
		return fmt.Errorf("key %s: %w", s.Name, err)
	}
	return nil
}

// customer returns the customer that s is charged to: its own, or that of its team.
func (s *KeySpec) customer(teams map[string]string) (string, error) {
	ofTeam := teams[s.Team]
	if s.Customer != "" && ofTeam != "" && s.Customer != ofTeam {
		return "", fmt.Errorf("team %s belongs to customer %s, not to %s", s.Team, ofTeam, s.Customer)
	}
	if s.Customer != "" {
		return s.Customer, nil
	}
	return ofTeam, nil
}

// checkSecret reports what is wrong with a declared secret, without quoting it.
func (s *KeySpec) checkSecret() error {
	text := s.Secret.Reveal()
	switch {
	case text == "":
		return fmt.Errorf("key %s: no secret: write secret: env:NAME or file:PATH", s.Name)
	case len(text) < secretCharsMin:
		return fmt.Errorf("key %s: the secret has fewer than %d characters", s.Name, secretCharsMin)
	case len(text) > credentialBytesMax:
		return fmt.Errorf("key %s: the secret has more than %d bytes", s.Name, credentialBytesMax)
	case slices.ContainsFunc([]byte(text), func(c byte) bool { return c <= ' ' || c > '~' }):
		return fmt.Errorf("key %s: the secret must be printable ASCII without spaces, or it cannot be sent in a header", s.Name)
	case looksMinted(text) && !wellFormed([]byte(text)):
		return fmt.Errorf("key %s: the secret begins with %s, but its checksum is wrong: a typo", s.Name, mintedPrefix)
	}
	return nil
}

// principal makes the principal that k's calls are made for.
func (k *Key) principal() (*policy.Principal, error) {
	p := &policy.Principal{Customer: k.Customer, Team: k.Team, Key: k.Name, KeyID: k.ID, User: k.User, Tags: k.Tags}
	if k.Tools == "" && k.Models == "" {
		return p, nil
	}
	narrow, err := policy.CompileFilter(k.Tools, k.Models)
	if err != nil || narrow == nil {
		return nil, errors.Join(errors.New("its filter does not compile"), err)
	}
	p.Narrow = narrow
	return p, nil
}
