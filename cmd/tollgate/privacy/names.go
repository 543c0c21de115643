package privacy

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"github.com/tollgate/tollgate/ledger/subject"
)

// Lookup is what stands in entries for the user that an operator names: his pseudonym; the text itself when nobody of that
// name has called, since entries of old bear names.
func (p *Part) Lookup(ctx context.Context, name string) (string, error) {
	found, err := p.Subjects.Find(ctx, subject.User, name)
	switch {
	case err == nil:
		return found.ID, nil
	case errors.Is(err, subject.ErrUnknown), errors.Is(err, subject.ErrErased):
		return name, nil
	}
	return "", err
}

// pseudonym is the form of a user's.
var pseudonym = regexp.MustCompile(`\bu_[a-z2-7]{20}\b`)

// Spell writes the names in the place of the pseudonyms in texts for operators. Those of erased subjects stay.
func (p *Part) Spell(ctx context.Context, texts ...*string) error {
	var ids []string
	for _, t := range texts {
		if strings.Contains(*t, "u_") {
			ids = append(ids, pseudonym.FindAllString(*t, -1)...)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	names, err := p.Subjects.Names(ctx, ids)
	if err != nil {
		return err
	}
	for _, t := range texts {
		*t = pseudonym.ReplaceAllStringFunc(*t, func(id string) string {
			if name, ok := names[id]; ok {
				return name
			}
			return id
		})
	}
	return nil
}
