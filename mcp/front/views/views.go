package views

import (
	"sync"

	"github.com/tollgate/tollgate/mcp/catalog"
	"github.com/tollgate/tollgate/policy"
)

// callersMax bounds the callers whose views are kept. Beyond it all are dropped and made anew as they come.
const callersMax = 2048

// Source is what views are made from. Safe for concurrent use.
type Source interface {
	// Catalog is what the servers offer now.
	Catalog() *catalog.Catalog
	// Policy is the set of rules that Visible goes by now.
	Policy() *policy.Set
	// Visible returns what p may see.
	Visible(p *policy.Principal) catalog.Visible
}

// Views keeps what each caller may see, for one catalog and one policy at a time. The zero value is ready. Safe for
// concurrent use.
type Views struct {
	mu  sync.Mutex // guards now, and callers of it
	now *generation
}

// generation is what holds for one catalog and one policy.
type generation struct {
	catalog *catalog.Catalog
	rules   *policy.Set
	callers map[callerKey]*Caller

	mu        sync.Mutex // guards what follows
	classes   map[classKey]*Class
	pageBytes int // of the pages that its classes keep
}

// callerKey is a principal with the client it claims to use: rules may read both.
type callerKey struct {
	base   *policy.Principal
	client string
}

// Caller is a principal as its requests are made, with what it sees. Safe for concurrent use.
type Caller struct {
	Principal  *policy.Principal
	See        catalog.Visible
	generation *generation

	mu      sync.Mutex // guards what follows
	classes map[*catalog.Space]*Class
}

// Caller returns who is calling: base, with the client that the request claims.
func (vs *Views) Caller(from Source, base *policy.Principal, client string) *Caller {
	cat := from.Catalog()
	rules := from.Policy()
	vs.mu.Lock()
	defer vs.mu.Unlock()
	g := vs.now
	if g == nil || g.catalog != cat || g.rules != rules || len(g.callers) >= callersMax {
		g = &generation{catalog: cat, rules: rules, callers: map[callerKey]*Caller{}, classes: map[classKey]*Class{}}
		vs.now = g
	}
	key := callerKey{base, client}
	c := g.callers[key]
	if c == nil {
		p := *base
		p.Client = client
		see := from.Visible(&p)
		c = &Caller{Principal: &p, See: see, generation: g, classes: map[*catalog.Space]*Class{}}
		g.callers[key] = c
	}
	return c
}

// Class returns who sees the same of a space as the caller.
func (c *Caller) Class(s *catalog.Space) *Class {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.classes[s]
	if found == nil {
		found = c.generation.class(s.View(c.See))
		c.classes[s] = found
	}
	return found
}

// View returns what the caller sees of a space.
func (c *Caller) View(s *catalog.Space) *catalog.View { return c.Class(s).View }
