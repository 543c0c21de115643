package settings

import (
	"time"

	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger/payload"
	"github.com/tollgate/tollgate/ledger/subject"
	"github.com/tollgate/tollgate/policy"
)

const (
	// payloadRetention is how long payloads are kept where the file does not say.
	payloadRetention = Days(30 * 24 * time.Hour)
	// kekCharsMin is the length of a key-encryption key: 32 random characters of base64 are 192 bits.
	kekCharsMin = 32
	// kekLabel names what the reference of a key-encryption key is stretched for.
	kekLabel = "tollgate key-encryption key v1"
)

// Payloads says what is kept of what calls carry. A key's own setting counts before all. Else, of Mode and the setting of
// the call's server or provider, the more private one counts; where neither says anything, nothing is kept.
type Payloads struct {
	// Mode is off, digest (a keyed digest of the answer, in the entry), redacted (both bodies, with tokens in the place of
	// credentials and personal data) or full. Default: off, but a server's or provider's own setting counts; written out, it
	// is the most that counts for any of them.
	Mode string `yaml:"mode"`

	// Retention is how long bodies are kept, such as 30d. Default 30d.
	Retention Days `yaml:"retention"`

	// KEK refers to the key-encryption key, 32 characters or more: what users' names and the keys of payloads are sealed
	// with. Default: the file kek in the data directory, made at the first start; with database, derived from secret_key.
	KEK string `yaml:"kek"`

	// KEKBefore refers to the one that was there before a rotation, until `tollgate audit rekey` has been run.
	KEKBefore string `yaml:"kek_before"`
}

// Privacy is what a config says of payloads and of who is behind the entries.
type Privacy struct {
	Rules     payload.Rules
	Retention time.Duration

	KEK, KEKBefore []byte // nil: the default, or none
}

func (out *Setup) privacy(s *Source) {
	p := &out.Privacy
	p.Retention = time.Duration(payloadRetention)
	if s.Payloads.Retention != 0 {
		p.Retention = time.Duration(s.Payloads.Retention)
	}
	p.KEK = out.kek(s, "payloads.kek", s.Payloads.KEK)
	p.KEKBefore = out.kek(s, "payloads.kek_before", s.Payloads.KEKBefore)
	p.Rules = payload.Rules{General: s.mode("payloads.mode", s.Payloads.Mode), Routes: map[payload.Route]payload.Mode{}, Keys: map[string]payload.Mode{}}
	for name, provider := range Sorted(s.Providers) {
		if provider != nil {
			p.Rules.Routes[payload.Route{Side: policy.Models, Upstream: name}] = s.mode("providers."+name+".payloads", provider.Payloads)
		}
	}
	for name, server := range Sorted(s.Servers) {
		if server != nil {
			p.Rules.Routes[payload.Route{Side: policy.Tools, Upstream: name}] = s.mode("servers."+name+".payloads", server.Payloads)
		}
	}
	for name, key := range Sorted(s.Keys) {
		p.Rules.Keys["file:"+name] = s.mode("keys."+name+".payloads", key.Payloads)
	}
}

func (s *Source) mode(path, text string) payload.Mode {
	m, err := payload.ParseMode(text)
	if err != nil {
		s.fault(path, "%v", err)
	}
	return m
}

// kek makes the key that the reference at path stands for; nil: there is no reference.
func (out *Setup) kek(s *Source, path, ref string) []byte {
	if ref == "" {
		return nil
	}
	v := out.shared(s, path, ref) // commands on the files need it, too
	if text := v.Reveal(); text != "" && len(text) < kekCharsMin {
		s.fault(path, "the key-encryption key has fewer than %d characters: make one with openssl rand -base64 32", kekCharsMin)
		return nil
	}
	key, err := secret.Derive(v, kekLabel, subject.KeyBytes)
	if err != nil {
		s.fault(path, "%v", err)
	}
	return key
}

// describePrivacy says what is kept of payloads.
func (out *Setup) describePrivacy(r *report) {
	rules := &out.Privacy.Rules
	if rules.Silent() {
		r.line("\npayloads: nothing is kept of what calls carry")
		return
	}
	general := rules.General
	if general == "" {
		general = "off, but where it is said"
	}
	r.line("\npayloads: %s; kept %s", general, Days(out.Privacy.Retention))
	for _, side := range []struct {
		of   policy.Side
		name string
	}{{policy.Models, "provider"}, {policy.Tools, "server"}} {
		for _, name := range out.routesOf(side.of) {
			if m := rules.Routes[payload.Route{Side: side.of, Upstream: name}]; m != "" {
				r.line("  %s %s: %s", side.name, name, m)
			}
		}
	}
	for id, m := range Sorted(rules.Keys) {
		if m != "" {
			r.line("  key %s: %s", id[len("file:"):], m)
		}
	}
}

// routesOf are the names of providers or servers.
func (out *Setup) routesOf(side policy.Side) (names []string) {
	if side == policy.Models {
		for _, p := range out.Routes.Providers {
			names = append(names, p.Name)
		}
		return names
	}
	for _, s := range out.Servers {
		names = append(names, s.Name)
	}
	return names
}
