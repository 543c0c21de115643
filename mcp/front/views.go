package front

import (
	"sync"

	"github.com/tollgate/tollgate/mcp/catalog"
	"github.com/tollgate/tollgate/policy"
)

// callersMax bounds the callers whose views are kept. Beyond it all are dropped and made anew as they come.
const callersMax = 2048

// views keeps what each caller may see, for one catalog and one policy at a time. A caller is a principal with
// the client it claims to use: rules may read both.
type views struct {
	mu      sync.Mutex // guards what follows
	catalog *catalog.Catalog
	rules   *policy.Set
	callers map[callerKey]*caller
}

type callerKey struct {
	base   *policy.Principal
	client string
}

// caller is a principal as its requests are made, with its views.
type caller struct {
	principal *policy.Principal
	see       catalog.Visible

	mu    sync.Mutex // guards what follows
	views map[*catalog.Space]*catalog.View
}

// caller returns who is calling, with the client that the request claims.
func (x *exchange) caller(client string) *caller {
	cat := x.cfg.Backend.Catalog()
	rules := x.cfg.Backend.Policy()
	vs := &x.Front.views
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if vs.catalog != cat || vs.rules != rules || len(vs.callers) >= callersMax {
		vs.catalog, vs.rules, vs.callers = cat, rules, map[callerKey]*caller{}
	}
	key := callerKey{x.base, client}
	c := vs.callers[key]
	if c == nil {
		p := *x.base
		p.Client = client
		see := x.cfg.Backend.Visible(&p)
		c = &caller{principal: &p, see: see, views: map[*catalog.Space]*catalog.View{}}
		vs.callers[key] = c
	}
	return c
}

// view returns what the caller sees of a space.
func (c *caller) view(s *catalog.Space) *catalog.View {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.views[s]
	if v == nil {
		v = s.View(c.see)
		c.views[s] = v
	}
	return v
}
