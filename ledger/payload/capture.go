package payload

import (
	"hash"
	"time"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/policy"
)

const (
	// partBytesMax is how much is kept of a request, and as much of an answer: long conversations have one megabyte.
	partBytesMax = 2 << 20
	// heldBytesMax bounds the payloads in memory, of calls under way and in the queue.
	heldBytesMax = 128 << 20
	// queueMax bounds the payloads in the queue.
	queueMax = 4096
)

// Capture gathers the payload of one call. It is for one goroutine at a time. A nil Capture gathers nothing.
type Capture struct {
	to     *Recorder
	mode   Mode
	call   *policy.Call
	digest hash.Hash
	said   bool // something was answered
	answer []byte
	cut    bool // and there was more
}

// Begin returns what gathers the payload of a call that was admitted, or nil when none is to be. A nil Recorder captures
// nothing. Of c what it says must stay until End.
func (r *Recorder) Begin(c *policy.Call) *Capture {
	if r == nil {
		return nil
	}
	rules := r.rules.Load()
	if rules == nil {
		return nil
	}
	m := rules.Mode(c)
	if m.rank() == 0 {
		return nil
	}
	return &Capture{to: r, mode: m, call: c, digest: r.cfg.Digest(c.Principal.Customer)}
}

// Answer adds a part of what was answered. It keeps nothing of b.
func (c *Capture) Answer(b []byte) {
	if c == nil || len(b) == 0 {
		return
	}
	c.said = true
	c.digest.Write(b)
	if c.mode == Digest {
		return
	}
	room := min(partBytesMax-len(c.answer), len(b))
	if room < len(b) {
		c.cut = true
	}
	if room > 0 && c.to.take(room) {
		c.answer = append(c.answer, b[:room]...)
	} else if room > 0 {
		c.cut = true
	}
}

// End ends the capture of a call that stands in its entries with this id, for the user of this pseudonym. It returns what
// the entry says of it: the digest of the answer, and what is kept.
func (c *Capture) End(id ledger.ID, user string) (result ledger.Digest, kept string) {
	if c == nil {
		return result, ""
	}
	if c.said {
		result = ledger.Digest(c.digest.Sum(nil))
	}
	if c.mode == Digest {
		return result, string(Digest)
	}
	p := &captured{id: id, user: user, keyID: c.call.Principal.KeyID, mode: c.mode, at: c.to.cfg.Now(), answer: part{c.answer, c.cut}, held: len(c.answer)}
	p.request = withoutMedia(c.call.Args, partBytesMax)
	if n := len(p.request.text); c.to.take(n) {
		p.held += n
	} else {
		c.to.drop(p)
		return result, Dropped
	}
	select {
	case c.to.queue <- p:
		return result, string(c.mode)
	default:
		c.to.drop(p)
		return result, Dropped
	}
}

// Discard ends the capture of a call that never left.
func (c *Capture) Discard() {
	if c != nil {
		c.to.held.Add(-int64(len(c.answer)))
	}
}

// captured is a payload in the queue.
type captured struct {
	id              ledger.ID
	user, keyID     string
	mode            Mode
	at              time.Time
	request, answer part
	held            int // bytes that count as held
}

// part is a request or an answer.
type part struct {
	text []byte
	cut  bool // there was more
}

// take counts bytes as held, if there is room for them.
func (r *Recorder) take(n int) bool {
	if r.held.Add(int64(n)) <= heldBytesMax {
		return true
	}
	r.held.Add(-int64(n))
	return false
}

// drop gives up a payload that there is no room for.
func (r *Recorder) drop(p *captured) {
	r.held.Add(-int64(p.held))
	r.dropped.Add(1)
}
