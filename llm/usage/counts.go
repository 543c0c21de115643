package usage

import (
	"math"
	"strconv"
)

// kind names one count of a usage object, whatever the dialect calls it.
type kind uint8

const (
	input kind = iota
	output
	total
	cacheRead
	cacheWrite
	write5m
	write1h
	reasoning
	audioIn
	audioOut
	imageOut
	searches
	kinds
)

// counts are the counts of a usage object as the provider gave them, overlaps and all.
type counts struct {
	n    [kinds]int64
	seen uint16 // bits of the kinds that were there, zero included
	bad  bool   // a count was dropped: negative, no number, or beyond countMax
}

// countMax is more tokens than any model takes in a call; what is above is a fault and not a count.
const countMax = 100_000_000

// place says in which object a member stands, since the same name means different things in different ones.
type place uint8

const (
	top place = iota
	inputDetails
	outputDetails
	writeDetails
	toolDetails
)

// read reads the members of a usage object and of the detail objects in it.
func (c *counts) read(value []byte, at place) {
	m := object(value)
	for name, value, ok := m.next(); ok; name, value, ok = m.next() {
		if len(value) > 0 && value[0] == '{' {
			if inside, ok := details(name); ok && at == top {
				c.read(value, inside)
			}
			continue
		}
		if k, ok := kindOf(name, at); ok {
			c.set(k, value)
		}
	}
}

// details tells the objects within a usage object apart.
func details(name []byte) (place, bool) {
	switch string(name) {
	case "prompt_tokens_details", "input_tokens_details", "input_token_details":
		return inputDetails, true
	case "completion_tokens_details", "output_tokens_details", "output_token_details":
		return outputDetails, true
	case "cache_creation":
		return writeDetails, true
	case "server_tool_use":
		return toolDetails, true
	}
	return top, false
}

// kindOf says which count a member is.
func kindOf(name []byte, at place) (kind, bool) {
	switch at {
	case top:
		return topKind(name)
	case inputDetails:
		switch string(name) {
		case "cached_tokens":
			return cacheRead, true
		case "cache_write_tokens", "cache_creation_tokens":
			return cacheWrite, true
		case "audio_tokens":
			return audioIn, true
		}
	case outputDetails:
		switch string(name) {
		case "reasoning_tokens", "thinking_tokens":
			return reasoning, true
		case "audio_tokens":
			return audioOut, true
		case "image_tokens":
			return imageOut, true
		}
	case writeDetails:
		switch string(name) {
		case "ephemeral_5m_input_tokens":
			return write5m, true
		case "ephemeral_1h_input_tokens":
			return write1h, true
		}
	case toolDetails:
		return searches, string(name) == "web_search_requests"
	}
	return 0, false
}

func topKind(name []byte) (kind, bool) {
	switch string(name) {
	case "prompt_tokens", "input_tokens":
		return input, true
	case "completion_tokens", "output_tokens":
		return output, true
	case "total_tokens":
		return total, true
	case "cache_read_input_tokens",
		"prompt_cache_hit_tokens", // DeepSeek
		"cached_tokens":           // Moonshot
		return cacheRead, true
	case "cache_creation_input_tokens":
		return cacheWrite, true
	case "reasoning_tokens": // Perplexity
		return reasoning, true
	}
	return 0, false
}

// set takes value for k if it is a count. null is as if it were not there.
func (c *counts) set(k kind, value []byte) {
	n, ok := number(value)
	switch {
	case string(value) == "null":
	case !ok:
		c.bad = true
	default:
		c.n[k] = max(c.n[k], n)
		c.seen |= 1 << k
	}
}

// number reads a count: a number from 0 to countMax, fractions rounded up.
func number(value []byte) (int64, bool) {
	if len(value) == 0 || len(value) > 32 {
		return 0, false
	}
	n := int64(0)
	for i, d := range value {
		if d < '0' || d > '9' || i > 9 {
			f, err := strconv.ParseFloat(string(value), 64)
			if err != nil || !(f >= 0 && f <= countMax) {
				return 0, false
			}
			return int64(math.Ceil(f)), true
		}
		n = n*10 + int64(d-'0')
	}
	return n, n <= countMax
}

// has reports whether k was there.
func (c *counts) has(k kind) bool { return c.seen&(1<<k) != 0 }

// raise takes from other what is larger: a stream's counts are cumulative, and a later 0 is no correction.
func (c *counts) raise(other *counts) {
	for k := range c.n {
		c.n[k] = max(c.n[k], other.n[k])
	}
	c.seen |= other.seen
	c.bad = c.bad || other.bad
}

// add adds other's counts.
func (c *counts) add(other *counts) {
	for k := range c.n {
		c.n[k] = min(c.n[k]+other.n[k], countMax)
	}
	c.seen |= other.seen
	c.bad = c.bad || other.bad
}
