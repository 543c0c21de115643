package subject

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// looksLike reports whether text has the form of a pseudonym.
func looksLike(text string) bool {
	return len(text) == len("u_")+pseudonymChars && (strings.HasPrefix(text, User.prefix()) || strings.HasPrefix(text, Key.prefix()))
}

// Find finds the subject of a name or pseudonym: ErrUnknown, or ErrErased for a pseudonym that was. A name that was erased
// is as unknown as one that never was there.
func (s *Subjects) Find(ctx context.Context, kind Kind, text string) (Subject, error) {
	k, err := s.find(ctx, kind, text)
	if err != nil {
		return Subject{}, err
	}
	return k.shown(), nil
}

func (k *known) shown() Subject {
	return Subject{ID: k.id, Kind: k.kind.String(), Name: k.name, Held: k.held, Since: k.since}
}

// find is Find as the store has it now.
func (s *Subjects) find(ctx context.Context, kind Kind, text string) (*known, error) {
	k, err := s.learn(ctx, kind, text, false)
	if err == nil {
		return s.byPseudonym(ctx, k.id, true)
	}
	if errors.Is(err, ErrUnknown) && looksLike(text) {
		return s.byPseudonym(ctx, text, true)
	}
	return nil, err
}

// Names resolves pseudonyms to names. Those of erased and unknown subjects are left out.
func (s *Subjects) Names(ctx context.Context, ids []string) (map[string]string, error) {
	out := make(map[string]string, len(ids))
	var missing []string
	s.mu.RLock()
	for _, id := range ids {
		if k := s.byID[id]; k != nil {
			out[id] = k.name
		} else if looksLike(id) && !slices.Contains(missing, id) {
			missing = append(missing, id)
		}
	}
	s.mu.RUnlock()
	for part := range slices.Chunk(missing, namesMax) {
		if err := s.namesOf(ctx, part, out); err != nil {
			return nil, fmt.Errorf("resolve pseudonyms: %w", err)
		}
	}
	return out, nil
}

func (s *Subjects) namesOf(ctx context.Context, ids []string, into map[string]string) error {
	s.learning.Lock()
	defer s.learning.Unlock()
	rows, err := s.store.get(ctx, ids)
	if err != nil {
		return err
	}
	return s.each(ctx, rows, func(k *known) { into[k.id] = k.name })
}

// each opens rows. The caller holds learning.
func (s *Subjects) each(ctx context.Context, rows []row, take func(*known)) error {
	for i := range rows {
		k, err := s.current(ctx, func(keys *keys) (*known, error) { return s.opened(keys, &rows[i]) })
		if err != nil {
			return err
		}
		take(k)
	}
	return nil
}

// List hands over all subjects in the order of their pseudonyms.
func (s *Subjects) List(ctx context.Context, take func(Subject)) error {
	last := ""
	for {
		s.learning.Lock()
		rows, err := s.store.after(ctx, last, listMax)
		if err == nil {
			err = s.each(ctx, rows, func(k *known) { take(k.shown()) })
		}
		s.learning.Unlock()
		if err != nil {
			return fmt.Errorf("list subjects: %w", err)
		}
		if len(rows) < listMax {
			return nil
		}
		last = rows[len(rows)-1].id
	}
}

// Hold keeps a subject from being erased, or lets it be erased again.
func (s *Subjects) Hold(ctx context.Context, id string, held bool) error {
	s.learning.Lock()
	found, err := s.store.hold(ctx, id, held)
	s.forget(id) // what is in memory says otherwise
	s.learning.Unlock()
	if err != nil {
		return fmt.Errorf("hold subject %s: %w", id, err)
	}
	if !found {
		_, err := s.byPseudonym(ctx, id, true)
		return err
	}
	return nil
}

// Erase destroys what is known of a subject: its name and its data key. ErrHeld while it is on hold; ErrErased, ErrUnknown.
// After an error that is none of these it may be erased or not: to erase it again tells, and ends what was not ended.
func (s *Subjects) Erase(ctx context.Context, id string) error {
	s.learning.Lock()
	done, err := s.store.erase(ctx, id, s.cfg.Now())
	s.forget(id)
	s.learning.Unlock()
	switch {
	case err != nil:
		return fmt.Errorf("erase subject %s: %w", id, err)
	case done:
		return nil
	}
	if _, err := s.byPseudonym(ctx, id, true); err != nil {
		return err
	}
	return fmt.Errorf("%w: %s", ErrHeld, id)
}

// Rekey seals all subjects anew under fresh keys, and those under the KEK of the config. It returns how many there are.
// Pseudonyms and payloads stay as they are. Other gateways must know the KEK already.
func (s *Subjects) Rekey(ctx context.Context) (int, error) {
	s.learning.Lock()
	defer s.learning.Unlock()
	if _, err := s.readKeys(ctx); err != nil {
		return 0, fmt.Errorf("rotate the keys of subjects: %w", err)
	}
	old := s.keys.Load()
	next := newRoot(old.generation+1, s.cfg.KEK, old.tokens)
	fresh, err := next.open(s.cfg.KEK)
	if err != nil {
		return 0, fmt.Errorf("rotate the keys of subjects: %w", err)
	}
	n, err := s.store.rekey(ctx, old.generation, next, func(r row) (row, error) { return fresh.again(r, old) })
	if err != nil {
		return 0, fmt.Errorf("rotate the keys of subjects: %w", err)
	}
	s.keys.Store(fresh)
	return n, nil
}

// Outdated reports whether what is stored is still sealed with the KEK before, so that Rekey is due.
func (s *Subjects) Outdated(ctx context.Context) (bool, error) {
	r, _, _, err := s.store.root(ctx)
	return err == nil && string(r.kek) != string(kekID(s.cfg.KEK)), err
}
