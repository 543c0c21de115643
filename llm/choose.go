package llm

import (
	"bytes"
	"cmp"
	"hash/fnv"
	"math"
	"net/http"
	"slices"

	"github.com/tollgate/tollgate/llm/dialect"
)

// conversationHeaders name a conversation, the surest first.
var conversationHeaders = [...]string{"X-Claude-Code-Session-Id", "Session-Id", "X-Session-Affinity", "X-Session-Id"}

// openingBytesMax is how much of a conversation's beginning identifies it when the client gives it no name.
const openingBytesMax = 4 << 10

// conversation hashes what stays the same from turn to turn, so that all turns go where the provider's cache of the
// earlier ones is. It needs no memory and comes out the same on every replica.
func conversation(r *request) uint64 {
	h := fnv.New64a()
	if r.principal != nil {
		_, _ = h.Write([]byte(r.principal.KeyID))
	}
	_, _ = h.Write(conversationName(r.header, &r.fields))
	return h.Sum64()
}

func conversationName(header http.Header, f *dialect.Fields) []byte {
	for _, name := range conversationHeaders {
		if v := header[name]; len(v) > 0 && v[0] != "" {
			return []byte(v[0])
		}
	}
	for _, field := range [...]dialect.Field{dialect.CacheKey, dialect.Conversation, dialect.Previous, dialect.User} {
		if f.Has(field) {
			return f.Raw(field)
		}
	}
	system, turns := f.Raw(dialect.System), opening(f.Raw(dialect.Turns))
	return slices.Concat(system[:min(len(system), openingBytesMax)], turns)
}

// opening is the beginning of a conversation up to its first user's turn: later turns are added behind it.
func opening(turns []byte) []byte {
	end := 0
	for end < len(turns) {
		n := element(turns[end:])
		if n == 0 {
			return turns[:min(len(turns), openingBytesMax)]
		}
		said := turns[end : end+n]
		end += n
		if end >= openingBytesMax || bytes.Contains(said, []byte(`"user"`)) {
			break
		}
	}
	return turns[:min(end, openingBytesMax)]
}

// element is the length of the first object of a JSON array's text, with what stands before it; 0 when there is none. It
// relies on the body having been scanned.
func element(b []byte) int {
	depth, inText := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case inText:
		case c == '{':
			depth++
		case c == '}':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

// arrange puts targets into the order in which they are asked: by tier, within a tier by weighted rendezvous hash, those
// that are resting last. Nobody is left out, so that the last one standing is always asked.
func arrange(targets []*target, conversation uint64, resting func(*target) bool) []*target {
	type ranked struct {
		*target
		resting bool
		score   float64
	}
	all := make([]ranked, len(targets))
	for i, t := range targets {
		all[i] = ranked{t, resting(t), score(t, conversation)}
	}
	slices.SortStableFunc(all, func(a, b ranked) int {
		if a.resting != b.resting {
			if a.resting {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(a.tier, b.tier), cmp.Compare(b.score, a.score))
	})
	out := make([]*target, len(all))
	for i := range all {
		out[i] = all[i].target
	}
	return out
}

// score is a target's rank for a conversation: weight / -ln(u), u uniform in (0,1). Each target wins its share by weight,
// and one that comes or goes moves only its own share.
func score(t *target, conversation uint64) float64 {
	h := fnv.New64a()
	var key [8]byte
	for i := range key {
		key[i] = byte(conversation >> (8 * i))
	}
	_, _ = h.Write([]byte(t.path))
	_, _ = h.Write(key[:])
	u := (float64(mix(h.Sum64())>>11) + 0.5) / (1 << 53)
	return float64(t.weight) / -math.Log(u)
}

// mix spreads a hash over all its bits (the finalizer of MurmurHash3): FNV's high bits barely depend on the last bytes.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
