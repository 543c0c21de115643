package load

import (
	"context"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate/tollgate/conformance/chaos/evidence"
	"github.com/tollgate/tollgate/conformance/chaos/plan"
)

const (
	// callTimeout is how patient a worker is.
	callTimeout = 10 * time.Second
	// thinkMean is the mean time between two calls of a worker.
	thinkMean = 600 * time.Millisecond
	// obeyMax bounds how long a worker waits because it was told to: the edge of a limit is where it can be broken.
	obeyMax = 3 * time.Second
	// hangUpIn is how many calls there are for one that a worker gives up on purpose, in mid-answer.
	hangUpIn = 25
)

// Replica is a gateway as workers know it.
type Replica struct {
	Name string
	URL  string
}

// Load is the workers and what they share.
type Load struct {
	Plan     *plan.Plan
	Replicas []Replica
	Log      *evidence.Log
	Seed     uint64

	client http.Client
	made   atomic.Int64
}

// Run has the workers work until ctx ends, and returns when the last call has ended.
func (l *Load) Run(ctx context.Context) {
	transport := &http.Transport{MaxIdleConnsPerHost: plan.WorkersPerKey * len(l.Plan.Keys), ResponseHeaderTimeout: callTimeout}
	defer transport.CloseIdleConnections()
	l.client.Transport = transport
	var all sync.WaitGroup
	for i, key := range l.Plan.Keys {
		for n := range plan.WorkersPerKey {
			w := &worker{load: l, key: key, dice: rand.New(rand.NewPCG(l.Seed, uint64(i*plan.WorkersPerKey+n)))}
			all.Go(func() { w.run(ctx) })
		}
	}
	all.Wait()
}

// Made is how many calls were made so far.
func (l *Load) Made() int64 { return l.made.Load() }

// worker makes one call at a time.
type worker struct {
	load *Load
	key  *plan.Key
	dice *rand.Rand
}

func (w *worker) run(ctx context.Context) {
	w.pause(ctx, w.span(thinkMean))
	for ctx.Err() == nil {
		a := w.call(ctx)
		w.load.made.Add(1)
		_ = w.load.Log.Add(a.Call) // Close tells
		think := w.span(2 * thinkMean)
		if a.after > 0 {
			think = min(a.after, w.span(obeyMax))
		}
		w.pause(ctx, think)
	}
}

func (w *worker) span(most time.Duration) time.Duration {
	return time.Duration(w.dice.Int64N(int64(most)))
}

func (w *worker) pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// answer is what came of a call.
type answer struct {
	evidence.Call
	after time.Duration // how long the worker is told to wait
}

// call makes one call. It is not broken off when ctx ends: a call that has left is waited for.
func (w *worker) call(ctx context.Context) answer {
	replica := w.load.Replicas[w.dice.IntN(len(w.load.Replicas))]
	id := make([]byte, 16)
	for i := range id {
		id[i] = byte(w.dice.Uint32())
	}
	a := answer{Call: evidence.Call{Nonce: hex.EncodeToString(id), Key: w.key.Name, Replica: replica.Name}}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	patience := time.Duration(0)
	if w.dice.IntN(hangUpIn) == 0 {
		patience = w.span(80*time.Millisecond) + time.Millisecond
		t := time.AfterFunc(patience, cancel)
		defer t.Stop()
	}
	var ask exchange
	if w.dice.IntN(2) == 0 {
		a.Name = w.key.Models[w.dice.IntN(len(w.key.Models))]
		ask = w.chat(a.Nonce, a.Name)
	} else {
		a.Name = w.key.Tools[w.dice.IntN(len(w.key.Tools))]
		ask = tool(a.Nonce, a.Name)
	}
	w.send(ctx, replica.URL, &ask, &a)
	a.Done = time.Now().UnixNano()
	if a.Result == evidence.Broken && patience > 0 && ctx.Err() != nil {
		a.Result = evidence.HungUp
	}
	return a
}
