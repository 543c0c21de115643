package ledger

import (
	"fmt"
	"hash"
	"iter"
	"slices"

	"github.com/tollgate/tollgate/policy"
)

// Subjects gives people the pseudonyms under which they stand in entries, so that a name can be forgotten while the
// entries stay as they are; *subject.Subjects is one. Names stand nowhere in a journal, a checkpoint or the index.
type Subjects interface {
	// Pseudonym is what stands for the user of this name; at first sight one is made and stored. It is asked on every
	// call's path and answers for those it knows without waiting. An error forbids the call.
	Pseudonym(name string) (string, error)
}

// UnknownSubject stands for a user whose pseudonym could not be had, in entries about calls that were refused.
const UnknownSubject = "u_unknown"

// pseudonym is what stands in entries for p's user. With an error it is UnknownSubject.
func (l *Ledger) pseudonym(p *policy.Principal) (string, error) {
	if p == nil || p.User == "" {
		return "", nil
	}
	if l.cfg.Subjects == nil {
		return clip(p.User), nil
	}
	name, err := l.cfg.Subjects.Pseudonym(p.User)
	if err != nil {
		return UnknownSubject, fmt.Errorf("%w: a user has no pseudonym: %w", ErrUnwritable, err)
	}
	if l.lacksLimits(p.User, name) && !l.limitAnew(p.User, name) {
		return UnknownSubject, fmt.Errorf("%w: the limits of a user cannot be attached", ErrUnwritable)
	}
	return name, nil
}

// lacksLimits reports whether the user of this name has limits that are not attached to his pseudonym: there was none when
// they were set, or he has been erased since and has another one.
func (l *Ledger) lacksLimits(user, pseudonym string) bool {
	limited := l.limited.Load()
	if limited == nil {
		return false
	}
	attached, ok := (*limited)[user]
	return ok && attached != pseudonym
}

// limitAnew attaches the limits as they were given, and reports whether the user has his now.
func (l *Ledger) limitAnew(user, pseudonym string) bool {
	l.setting.Lock()
	defer l.setting.Unlock()
	if l.lacksLimits(user, pseudonym) {
		l.setLimits(l.given)
	}
	return !l.lacksLimits(user, pseudonym)
}

// pseudonymous is attached with pseudonyms in the scopes of users, and the pseudonyms by name: an empty one for a user who
// cannot be given any now.
func (l *Ledger) pseudonymous(attached map[Scope][]Limit) (out map[Scope][]Limit, limited map[string]string) {
	if l.cfg.Subjects == nil {
		return attached, nil
	}
	out, limited = make(map[Scope][]Limit, len(attached)), map[string]string{}
	for scope, list := range attached {
		if scope.Level == UserLevel {
			if len(list) == 0 {
				continue
			}
			name := scope.Name
			pseudonym, err := l.cfg.Subjects.Pseudonym(name)
			if err != nil {
				limited[name] = ""
				continue
			}
			scope.Name, limited[name] = pseudonym, pseudonym
		}
		out[scope] = list
	}
	return out, limited
}

// Digest is the keyed digest that stands in entries for what a call of the customer carries, its arguments or its answer:
// the same bytes give the same digest, and without the key nobody can try bytes against it. Those of two customers
// cannot be compared. Of nothing it is zero.
func (l *Ledger) Digest(customer string, text []byte) Digest { return l.digests.Of(customer, text) }

// NewDigest is Digest for what comes in parts. The hash is for one goroutine.
func (l *Ledger) NewDigest(customer string) hash.Hash { return l.digests.Hash(customer) }

// accounts are those that a scope is on the path of: under its name, and for a user also those of entries that were
// written before there were pseudonyms. The caller holds mu.
func (l *Ledger) accounts(s Scope) iter.Seq[*account] {
	all := l.book.scopes[s]
	if name := l.named[s]; name != "" {
		all = slices.Concat(all, l.book.scopes[Scope{UserLevel, name}])
	}
	return slices.Values(all)
}
