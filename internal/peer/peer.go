package peer

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/tollgate/tollgate/internal/dial"
)

// connectionsMax bounds the connections to one other replica: each stream that a client keeps open at the wrong replica
// takes one for as long.
const connectionsMax = 4096

// Config makes a Net. Self, Key and Address are required.
type Config struct {
	Self ID
	Key  []byte // that all replicas share
	// Address returns host:port of a replica that is alive as far as is known; false: it is not, or there is none of that
	// name. It is asked for every request, and now and then during one.
	Address func(ID) (string, bool)
	Now     func() time.Time // of the clock that replicas share; nil: time.Now
	Log     *slog.Logger     // nil: slog.Default
}

// Net is this replica among the others. Safe for concurrent use.
type Net struct {
	cfg    Config
	client *http.Client
	seen   once

	forwarded, lost, taken, refused atomic.Int64
}

// New makes the net of a replica.
func New(cfg Config) *Net {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Net{cfg: cfg, client: dial.Replica.ClientOf(connectionsMax)}
}

// Self is this replica.
func (n *Net) Self() ID { return n.cfg.Self }

// Counts are how many requests went which way since the start.
type Counts struct {
	Forwarded int64 // answered by another replica
	Lost      int64 // not answered: the other one was gone, or went in the middle
	Taken     int64 // served for another replica
	Refused   int64 // that came to Path and were no message of a replica
}

// Counts returns what has been counted.
func (n *Net) Counts() Counts {
	return Counts{n.forwarded.Load(), n.lost.Load(), n.taken.Load(), n.refused.Load()}
}

// Close closes the connections to others that are not used.
func (n *Net) Close() { n.client.CloseIdleConnections() }

// forwardedKey marks the context of a request that another replica has forwarded.
type forwardedKey struct{}

// Forwarded reports whether r came from another replica.
func Forwarded(r *http.Request) bool { return r.Context().Value(forwardedKey{}) != nil }

// errForwarded means that a request has come from another replica already: it goes no further.
var errForwarded = errors.New("a request is forwarded once")

// alive ends a context when a replica is not known to be alive any more. stop must be called.
func (n *Net) alive(ctx context.Context, to ID) (alive context.Context, stop func()) {
	alive, cancel := context.WithCancel(ctx)
	go func() {
		tick := time.NewTicker(aliveEvery)
		defer tick.Stop()
		for {
			select {
			case <-alive.Done():
				return
			case <-tick.C:
				if _, ok := n.cfg.Address(to); !ok {
					cancel()
					return
				}
			}
		}
	}()
	return alive, cancel
}

// aliveEvery is how often it is asked whether a replica that has not answered yet, or not to the end, is alive.
const aliveEvery = 5 * time.Second
