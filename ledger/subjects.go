package ledger

import (
	"fmt"
	"iter"
	"slices"

	"github.com/tollgate/tollgate/policy"
)

// Subjects gives people the pseudonyms under which they stand in entries, so that a name can be forgotten while the
// entries stay as they are; *subject.Store is one. Names stand nowhere in a journal, a checkpoint or the index.
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
	if l.unnamed.Load() != nil && !l.nameAgain() {
		return UnknownSubject, fmt.Errorf("%w: the limits of a user cannot be attached: the store of subjects fails", ErrUnwritable)
	}
	name, err := l.cfg.Subjects.Pseudonym(p.User)
	if err != nil {
		return UnknownSubject, fmt.Errorf("%w: a user has no pseudonym: %w", ErrUnwritable, err)
	}
	return name, nil
}

// nameAgain attaches the limits whose users had no pseudonym, and reports whether all have one now.
func (l *Ledger) nameAgain() bool {
	l.setting.Lock()
	defer l.setting.Unlock()
	if given := l.unnamed.Load(); given != nil {
		l.setLimits(*given)
	}
	return l.unnamed.Load() == nil
}

// pseudonymous is attached with pseudonyms in the scopes of users, and the names that were there before. With an error the
// limits of some users are missing.
func (l *Ledger) pseudonymous(attached map[Scope][]Limit) (out map[Scope][]Limit, named map[Scope]string, err error) {
	if l.cfg.Subjects == nil {
		return attached, nil, nil
	}
	out, named = make(map[Scope][]Limit, len(attached)), map[Scope]string{}
	for scope, list := range attached {
		if scope.Level == UserLevel && len(list) > 0 {
			name, failed := l.cfg.Subjects.Pseudonym(scope.Name)
			if failed != nil {
				err = failed
				continue
			}
			named[Scope{UserLevel, name}] = scope.Name
			scope.Name = name
		}
		out[scope] = list
	}
	return out, named, err
}

// accounts are those that a scope is on the path of: under its name, and for a user also those of entries that were
// written before there were pseudonyms. The caller holds mu.
func (l *Ledger) accounts(s Scope) iter.Seq[*account] {
	all := l.book.scopes[s]
	if name := l.named[s]; name != "" {
		all = slices.Concat(all, l.book.scopes[Scope{UserLevel, name}])
	}
	return slices.Values(all)
}
