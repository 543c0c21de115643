package llm

import (
	"errors"
	"slices"
)

// Health is how one provider is doing, as far as its answers tell.
type Health struct {
	Provider string
	Resting  []string // its models that are asked only when no other target is left, sorted
	Models   int      // that are known
	Failed   error    // why its list of models could not be read the last time; nil when it could, or was not needed
}

// Health tells how the providers are doing, in the order they are declared. It asks nobody.
func (p *Proxy) Health() []Health {
	t, now := p.table.Load(), p.now()
	var out []Health
	for _, to := range t.order {
		h := Health{Provider: to.Name, Models: len(t.modelsOf(to)), Failed: to.listed.failure()}
		for _, m := range p.rests.all(now) {
			if m.Provider == to.Name {
				h.Resting = append(h.Resting, m.Name)
			}
		}
		slices.Sort(h.Resting)
		out = append(out, h)
	}
	return out
}

// Ready returns nil, or why no new request should be sent here.
func (p *Proxy) Ready() error {
	p.running.mu.Lock()
	defer p.running.mu.Unlock()
	if p.running.stopped {
		return errors.New("the model side is shutting down")
	}
	return nil
}
