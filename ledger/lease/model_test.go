package lease

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tollgate/tollgate/ledger/caps"
)

// model is the database in memory: it does what settle says, one exchange at a time. Its links can be broken both ways.
type model struct {
	mu       sync.Mutex
	ahead    time.Duration // of its clock
	replicas map[string]replicaRow
	pools    map[caps.Key]poolRow
	caps     map[caps.Key]map[string]capRow
	links    map[*link]struct{}
	mute     bool // no notifications
	holder   string
	until    time.Time

	exchanges int
	buried    func(id string) // a replica was declared gone
}

func newModel() *model {
	return &model{
		replicas: map[string]replicaRow{}, pools: map[caps.Key]poolRow{}, caps: map[caps.Key]map[string]capRow{}, links: map[*link]struct{}{},
	}
}

func (m *model) clock() time.Time { return time.Now().Add(m.ahead) }

// fault is what happens to one question.
type fault uint8

const (
	none fault = iota
	lost       // it did not come
	kept       // it was done, the answer did not come
	hole       // neither, and nobody says so: the deadline ends it
	late       // it is done when its sender has given up
)

var errCut = errors.New("the connection was cut")

// link is a replica's connection to the model. It implements store.
type link struct {
	*model
	mu    sync.Mutex
	fault func() fault // nil: none
	delay time.Duration
	heard func(what, who string)
	late  []request
}

func (m *model) link() *link {
	l := &link{model: m, delay: 2 * time.Millisecond}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.links[l] = struct{}{}
	return l
}

func (l *link) breaks(f func() fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = f
}

// travel is the way to the model. done says whether it came there, err what the asker hears.
func (l *link) travel(ctx context.Context) (f fault, err error) {
	l.mu.Lock()
	if l.fault != nil {
		f = l.fault()
	}
	l.mu.Unlock()
	if f == hole || f == late {
		<-ctx.Done()
		return f, ctx.Err()
	}
	if !sleep(ctx, l.delay) {
		return lost, ctx.Err()
	}
	if f != none {
		return f, errCut
	}
	return f, nil
}

func (l *link) exchange(ctx context.Context, r *request) (*reply, error) {
	f, err := l.travel(ctx)
	switch f {
	case lost, hole:
		return nil, err
	case late:
		l.mu.Lock()
		l.late = append(l.late, *r)
		l.mu.Unlock()
		return nil, err
	}
	got := l.do(r)
	if err == nil && !sleep(ctx, l.delay) {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	return got, nil
}

// arrive does what was sent and given up long ago.
func (l *link) arrive() {
	l.mu.Lock()
	all := l.late
	l.late = nil
	l.mu.Unlock()
	for i := range all {
		l.do(&all[i])
	}
}

func (m *model) do(r *request) *reply {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.exchanges++
	s := &state{now: m.clock(), pools: map[caps.Key]*poolRow{}, caps: map[caps.Key][]capRow{}, others: map[caps.Key]caps.Use{}}
	if me, ok := m.replicas[r.id]; ok {
		s.me = &me
	}
	for id, o := range m.replicas {
		if o.gone.IsZero() {
			s.live++
			if id != r.id && o.zone != r.zone && r.join {
				s.zone = o.zone
			}
		}
	}
	for _, c := range r.changes {
		p, ok := m.pools[c.Key]
		if !ok {
			p = poolRow{key: c.Key, ends: c.End}
		}
		s.pools[c.Key] = &p
		for _, row := range m.caps[c.Key] {
			row.gone = !m.replicas[row.replica].gone.IsZero()
			s.caps[c.Key] = append(s.caps[c.Key], row)
		}
	}
	for _, rows := range m.caps {
		if row, ok := rows[r.id]; ok {
			s.mine = append(s.mine, row)
		}
	}
	for _, k := range r.readings {
		s.others[k] = m.usesOf(k, r.id)
	}
	out, w := settle(s, r)
	if out.verdict == done {
		m.save(r, &w)
	}
	return &out
}

func (m *model) save(r *request, w *writes) {
	m.replicas[r.id] = w.me
	for i, c := range w.caps {
		if slices.ContainsFunc(w.caps[:i], func(o capRow) bool { return o.key == c.key }) {
			panic("a row is written twice: PostgreSQL refuses that") // the whole exchange
		}
		if m.caps[c.key] == nil {
			m.caps[c.key] = map[string]capRow{}
		}
		m.caps[c.key][r.id] = c
	}
	for _, p := range w.pools {
		m.pools[p.key] = p
	}
	if m.mute {
		return
	}
	for l := range m.links {
		if l.heard == nil {
			continue
		}
		if w.starved {
			l.heard("starved", r.id)
		}
		for _, id := range w.freed {
			l.heard("freed", id)
		}
	}
}

func (m *model) usesOf(k caps.Key, but string) (u caps.Use) {
	for id, row := range m.caps[k] {
		if id != but {
			u.Used += row.used
			u.Held += row.held
		}
	}
	return u
}

func (l *link) now(ctx context.Context) (time.Time, error) {
	if _, err := l.travel(ctx); err != nil {
		return time.Time{}, err
	}
	l.model.mu.Lock()
	t := l.clock()
	l.model.mu.Unlock()
	sleep(ctx, l.delay)
	return t, nil
}

func (l *link) starved(ctx context.Context, id string) (out []caps.Key, err error) {
	if _, err := l.travel(ctx); err != nil {
		return nil, err
	}
	m := l.model
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, p := range m.pools {
		if _, ok := m.caps[k][id]; ok && p.starver != id && p.till.After(m.clock()) {
			out = append(out, k)
		}
	}
	return out, nil
}

func (l *link) uses(ctx context.Context, but string) (map[caps.Key]caps.Use, error) {
	if _, err := l.travel(ctx); err != nil {
		return nil, err
	}
	m := l.model
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[caps.Key]caps.Use{}
	for k := range m.caps {
		out[k] = m.usesOf(k, but)
	}
	return out, nil
}

func (l *link) watch(ctx context.Context, id string, heard func(starved bool)) {
	m := l.model
	m.mu.Lock()
	l.heard = func(what, who string) {
		if (what == "freed") == (who == id) {
			heard(what == "starved")
		}
	}
	m.mu.Unlock()
	<-ctx.Done()
	m.mu.Lock()
	delete(m.links, l)
	m.mu.Unlock()
}

func (l *link) reap(ctx context.Context, holder string, w watched, monotonic time.Duration) error {
	if _, err := l.travel(ctx); err != nil {
		return err
	}
	m := l.model
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock()
	if m.holder != holder && now.Before(m.until) {
		clear(w)
		return nil
	}
	m.holder, m.until = holder, now.Add(dutyTime)
	var live []replicaRow
	for _, id := range slices.Sorted(maps.Keys(m.replicas)) {
		if r := m.replicas[id]; r.gone.IsZero() {
			live = append(live, r)
		}
	}
	for _, r := range w.overdue(live, now, monotonic) {
		r.gone = now
		m.replicas[r.id] = r
		m.buried(r.id)
		m.forget(r.id, func(c *capRow) bool { return c.kind == caps.Slots })
	}
	for id, r := range m.replicas {
		if !r.gone.IsZero() {
			m.forget(id, func(c *capRow) bool { return c.kind == caps.Sliding && now.After(r.gone.Add(returnTime(c.window))) })
		}
	}
	for k := range m.caps {
		if len(m.caps[k]) > 0 && m.pools[k].ends > 0 && m.pools[k].ends < now.Add(-endedTime).UnixNano() {
			delete(m.caps, k)
			delete(m.pools, k)
		}
	}
	return nil
}

func (m *model) forget(id string, which func(*capRow) bool) {
	for k, rows := range m.caps {
		if row, ok := rows[id]; ok && which(&row) {
			row.cap, row.used, row.held = 0, 0, 0
			m.caps[k][id] = row
		}
	}
}
