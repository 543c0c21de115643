package upstream

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"sync"
	"time"

	"github.com/tollgate/tollgate/conformance/chaos/evidence"
)

// bodyBytesMax bounds a request; those of the workers have a few kilobytes.
const bodyBytesMax = 1 << 20

// Serve serves handler at addr until ctx ends.
func Serve(ctx context.Context, addr string, handler http.Handler) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	s := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() }) // what is under way breaks off
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// nonce is how a call is known.
var nonce = regexp.MustCompile(`nonce:([0-9a-f]{32})`)

func nonceIn(body []byte) string {
	if m := nonce.FindSubmatch(body); m != nil {
		return string(m[1])
	}
	return ""
}

// desk is what provider and tool servers have in common: the log, and the dice.
type desk struct {
	log *evidence.Log

	mu   sync.Mutex // guards dice
	dice *rand.Rand
}

func newDesk(log *evidence.Log, seed uint64) *desk {
	return &desk{log: log, dice: rand.New(rand.NewPCG(seed, 1))}
}

// tenth is one of 0 to 9.
func (d *desk) tenth() int { return int(d.between(0, 9)) }

func (d *desk) between(least, most int64) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return least + d.dice.Int64N(most-least+1)
}

func (d *desk) span(least, most time.Duration) time.Duration {
	return time.Duration(d.between(int64(least), int64(most)))
}

// visit is one request that was noted.
type visit struct {
	desk *desk
	seq  int64
	once sync.Once
}

// arrive notes a request before it is answered.
func (d *desk) arrive(nonce, upstream, target string) *visit {
	v := &visit{desk: d, seq: d.log.Next()}
	_ = d.log.Add(evidence.Request{Seq: v.seq, Nonce: nonce, Upstream: upstream, Target: target, Arrived: time.Now().UnixNano()}) // Close tells
	return v
}

// end notes how the request ends; only the first time counts.
func (v *visit) end(a evidence.Answer, input, output int64) {
	v.once.Do(func() {
		_ = v.desk.log.Add(evidence.Request{Of: v.seq, Ended: time.Now().UnixNano(), Answer: a, Input: input, Output: output}) // Close tells
	})
}

// wait waits for d, or until the caller leaves: then it reports false.
func wait(r *http.Request, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// hangUp closes the connection without another byte.
func hangUp(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // closes it as well
	}
	_ = conn.Close() // that is all there is to do with it
}

// bodyOf reads the body of r, and answers for it when it cannot.
func bodyOf(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyBytesMax))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
	case err != nil:
		http.Error(w, "the body broke off", http.StatusBadRequest)
	}
	return body, err == nil
}
