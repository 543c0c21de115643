package payload

import (
	"fmt"

	"github.com/tollgate/tollgate/policy"
)

// Mode says what is kept of a call's payload. The empty Mode says nothing.
type Mode string

// The modes, from the most private.
const (
	Off      Mode = "off"
	Digest   Mode = "digest"
	Redacted Mode = "redacted"
	Full     Mode = "full"
)

// Dropped stands in entries, in a mode's place, when there was no room for the payload.
const Dropped = "dropped"

// ParseMode reads a mode as the config has it.
func ParseMode(text string) (Mode, error) {
	switch m := Mode(text); m {
	case "", Off, Digest, Redacted, Full:
		return m, nil
	}
	return "", fmt.Errorf("%q is no mode for payloads: off, digest, redacted or full", text)
}

func (m Mode) rank() int {
	switch m {
	case Digest:
		return 1
	case Redacted:
		return 2
	case Full:
		return 3
	}
	return 0
}

// private is the more private of two; one that says nothing does not count.
func private(a, b Mode) Mode {
	switch {
	case a == "":
		return b
	case b == "" || a.rank() <= b.rank():
		return a
	}
	return b
}

// Route is where a call goes.
type Route struct {
	Side     policy.Side
	Upstream string
}

// Rules say which mode holds for a call: the key's own word before all; else, of the general one and the one of the
// server or provider, the more private; where nobody says anything, off.
type Rules struct {
	General Mode
	Routes  map[Route]Mode
	Keys    map[string]Mode // by the key's id
}

// Mode is the one that holds for c.
func (r *Rules) Mode(c *policy.Call) Mode {
	if c.Action.Own() || c.Principal == nil {
		return Off
	}
	if m := r.Keys[c.Principal.KeyID]; m != "" {
		return m
	}
	if m := private(r.General, r.Routes[Route{c.Action.Side(), c.Upstream}]); m != "" {
		return m
	}
	return Off
}

// Silent reports whether nothing is captured of any call.
func (r *Rules) Silent() bool {
	for _, m := range r.Keys {
		if m.rank() > 0 {
			return false
		}
	}
	for _, m := range r.Routes {
		if private(r.General, m).rank() > 0 {
			return false
		}
	}
	return r.General.rank() == 0
}

// Keeps reports whether the payload of any call is kept.
func (r *Rules) Keeps() bool {
	keeps := r.General.rank() > Digest.rank()
	for _, m := range r.Keys {
		keeps = keeps || m.rank() > Digest.rank()
	}
	for _, m := range r.Routes {
		keeps = keeps || m.rank() > Digest.rank()
	}
	return keeps
}
