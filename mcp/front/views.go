package front

import (
	"sync"

	"github.com/tollgate/tollgate/mcp/catalog"
	"github.com/tollgate/tollgate/policy"
)

// callersMax bounds the callers whose views are kept. Beyond it all are dropped and made anew as they come.
const callersMax = 2048

// views keeps what each caller may see, for one catalog and one policy at a time.
type views struct {
	mu  sync.Mutex // guards now, and callers of it
	now *generation
}

// generation is what holds for one catalog and one policy.
type generation struct {
	catalog *catalog.Catalog
	rules   *policy.Set
	callers map[callerKey]*caller

	mu        sync.Mutex // guards what follows
	classes   map[classKey]*class
	pageBytes int // of the pages that its classes keep
}

// callerKey is a principal with the client it claims to use: rules may read both.
type callerKey struct {
	base   *policy.Principal
	client string
}

// caller is a principal as its requests are made, with what it sees.
type caller struct {
	principal  *policy.Principal
	see        catalog.Visible
	generation *generation

	mu      sync.Mutex // guards what follows
	classes map[*catalog.Space]*class
}

// caller returns who is calling, with the client that the request claims.
func (x *exchange) caller(client string) *caller {
	cat := x.cfg.Backend.Catalog()
	rules := x.cfg.Backend.Policy()
	vs := &x.Front.views
	vs.mu.Lock()
	defer vs.mu.Unlock()
	g := vs.now
	if g == nil || g.catalog != cat || g.rules != rules || len(g.callers) >= callersMax {
		g = &generation{catalog: cat, rules: rules, callers: map[callerKey]*caller{}, classes: map[classKey]*class{}}
		vs.now = g
	}
	key := callerKey{x.base, client}
	c := g.callers[key]
	if c == nil {
		p := *x.base
		p.Client = client
		see := x.cfg.Backend.Visible(&p)
		c = &caller{principal: &p, see: see, generation: g, classes: map[*catalog.Space]*class{}}
		g.callers[key] = c
	}
	return c
}

// class returns who sees the same of a space as the caller.
func (c *caller) class(s *catalog.Space) *class {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.classes[s]
	if found == nil {
		found = c.generation.class(s.View(c.see))
		c.classes[s] = found
	}
	return found
}

// view returns what the caller sees of a space.
func (c *caller) view(s *catalog.Space) *catalog.View { return c.class(s).view }
