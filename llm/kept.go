package llm

import (
	"net/http"
	"sync"

	"github.com/tollgate/tollgate/llm/dialect"
	"github.com/tollgate/tollgate/policy"
)

// keptMax bounds the answers remembered, half of them at least: some 150 bytes each.
const keptMax = 65_536

// kept remembers which answers providers keep: who may go on from them, since keys share the provider's account, and where,
// since no other target knows them. An answer that is not remembered, after a restart or from another replica, is left to
// the provider; its id cannot be guessed. The zero value is ready. Safe for concurrent use.
type kept struct {
	mu         sync.Mutex
	young, old map[string]keptAnswer // when the young half is full the old one is dropped
}

type keptAnswer struct {
	keyID string
	model policy.Model
}

func (k *kept) put(id string, a keptAnswer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.young) >= keptMax/2 {
		k.young, k.old = nil, k.young
	}
	if k.young == nil {
		k.young = map[string]keptAnswer{}
	}
	k.young[id] = a
}

func (k *kept) get(id string) (keptAnswer, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a, ok := k.young[id]
	if !ok {
		a, ok = k.old[id]
	}
	return a, ok
}

// remember notes an answer that the provider keeps, unless the caller asked that it be not.
func (x *exchange) remember(id string) {
	if id != "" && !x.req.fields.False(dialect.Store) {
		x.p.kept.put(id, keptAnswer{x.req.principal.KeyID, x.t.model})
	}
}

// pinned narrows targets to the one that keeps the answer which req goes on from. It is refused to whom the answer was not
// given, in the same words as if it did not exist.
func (p *Proxy) pinned(req *request, targets []*target) ([]*target, *dialect.Error) {
	id := req.fields.Text(dialect.Previous)
	if id == "" {
		return targets, nil
	}
	answer, ok := p.kept.get(id)
	if !ok {
		return targets, nil
	}
	for _, t := range targets {
		if t.model == answer.model && req.principal.KeyID == answer.keyID {
			return []*target{t}, nil
		}
	}
	return nil, &dialect.Error{Status: http.StatusBadRequest, Code: "previous_response_not_found", Param: "previous_response_id",
		Message: "the answer that previous_response_id names does not exist at this model, or is not this key's"}
}
