package llm

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/edge"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/llm/price"
	"github.com/tollgate/tollgate/llm/vendor"
	"github.com/tollgate/tollgate/oauth"
	"github.com/tollgate/tollgate/policy"
)

// Auth says who is calling; *oauth.Authenticator is one. An *oauth.Refusal among its errors is told to the caller.
type Auth interface {
	Authenticate(r *http.Request) (*policy.Principal, error)
}

// Vault sets the credential of a permit's upstream on a request; *oauth.Vault is one.
type Vault interface {
	Apply(p *gate.Permit, h http.Header) error
}

// Config makes a Proxy. Gate, Auth, Vault and Edge are required.
type Config struct {
	Gate    *gate.Gate
	Auth    Auth
	Vault   Vault
	Edge    *edge.Guard
	Routes  Routes
	Limits  Limits
	Log     *slog.Logger
	Version string // told to providers and clients as tollgate/VERSION
	Now     func() time.Time
}

// Routes is what can be called and what it costs: the part of the configuration that a reload replaces.
type Routes struct {
	Providers []Provider
	Aliases   map[string][]Target
	Prices    *price.Catalog
}

// Provider is one account at a vendor, or one model server.
type Provider struct {
	*vendor.Provider
	Terms   price.Terms
	Models  []string // the models it has; empty: it is asked, and the price catalog's list of its vendor counts until then
	Drain   bool     // on_disconnect: drain. Read the answer to its end when the client leaves, so that its usage is known
	NoUsage bool     // never ask for usage in a chat stream; it is then estimated where the provider does not send it

	Private    bool          // its address was written by the operator and may be private
	Connect    time.Duration // 0: the gate's default
	FirstByte  time.Duration // until the header of an answer; 0: the gate's default
	FirstToken time.Duration // until the first content of a stream; 0: firstTokenTimeout
	Idle       time.Duration // longest silence within an answer; 0: idleTimeout
	ConnsMax   int           // 0: the gate's default
}

// Target is one place an alias leads to.
type Target struct {
	Use    string // provider/model
	Weight int    // share among the targets of its tier; 0: 1
	Tier   int    // targets of a higher tier are asked when those of the lower ones failed; 0: 1
}

// Limits bound what requests and answers may take. Zero fields take the defaults, the constants of this file.
type Limits struct {
	BodyBytesMax   int64         // of a request
	BodyTimeout    time.Duration // for reading it
	AnswerBytesMax int64         // of an answer that is not a stream
	StreamBytesMax int64         // of a stream
	StreamTimeout  time.Duration // for a stream, however alive it is
	WriteTimeout   time.Duration // until a client has taken what was written to it
}

// The defaults of Limits, and the bounds that nobody had a reason to set.
const (
	bodyBytesMax      = 32 << 20 // what Anthropic takes; requests carry images
	embedBytesMax     = 4 << 20  // embeddings carry text
	bodyTimeout       = 60 * time.Second
	answerBytesMax    = 64 << 20 // a batch of embeddings is 20 MB
	streamBytesMax    = 256 << 20
	streamTimeout     = time.Hour
	writeTimeout      = time.Minute
	firstTokenTimeout = 10 * time.Minute // thinking models think before they speak
	idleTimeout       = 5 * time.Minute  // and between the parts of what they say

	endTime = 250 * time.Millisecond // a provider may take to close a stream whose end it has sent; then its connection is not used again

	unwatchedBytes = 32 << 10 // of an answer that the kernel takes at once: no client can hold it up

	errorBytesMax    = 1 << 20          // of a provider's error answer
	frameBytesMax    = 8 << 20          // of one event of a stream: images come as one
	heldFramesMax    = 64               // of a stream that has said nothing yet
	heldBytesMax     = 256 << 10        // the same in bytes
	heldTime         = 15 * time.Second // and in time: clients want a sign of life
	statusClientGone = 499              // nobody reads it
	offlineRetry     = time.Second      // when the replica has lost the database: a failover takes a few of them
	unwritableRetry  = 2 * time.Second  // when the ledger could not be written: a full disk is not mended sooner
	limitRetry       = time.Second      // when a limit cannot say when it frees: that of calls under way
	attemptsMax      = 8                // targets asked for one request
	drainsMax        = 64               // answers read on after their client left, at a time
	drainBytesMax    = 16 << 20         // of one such answer
	drainTime        = 5 * time.Minute  // for one such answer
	retryAfterMost   = 10 * time.Minute // of what a provider's Retry-After is believed
	aliasTargets     = 64               // of one alias
	clientsKept      = 4096             // principals with the name of their client, before the cache starts anew
	clientBytesMax   = 64               // of a client's name
	reasonBytesMax   = 200              // of a caller's text in a ledger line
)

func (l Limits) withDefaults() Limits {
	l.BodyBytesMax = or(l.BodyBytesMax, bodyBytesMax)
	l.BodyTimeout = or(l.BodyTimeout, bodyTimeout)
	l.AnswerBytesMax = or(l.AnswerBytesMax, answerBytesMax)
	l.StreamBytesMax = or(l.StreamBytesMax, streamBytesMax)
	l.StreamTimeout = or(l.StreamTimeout, streamTimeout)
	l.WriteTimeout = or(l.WriteTimeout, writeTimeout)
	return l
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func (c *Config) check() error {
	switch {
	case c.Gate == nil:
		return errors.New("llm: no gate, so nothing may be called")
	case c.Auth == nil:
		return errors.New("llm: no authenticator, so nobody may call")
	case c.Vault == nil:
		return errors.New("llm: no vault, so no provider can be called")
	case c.Edge == nil:
		return errors.New("llm: no edge guard: requests would be taken from any Host and Origin")
	}
	return nil
}

// Upstreams lists providers as destinations of the gate.
func Upstreams(providers []Provider) ([]gate.Upstream, error) {
	out := make([]gate.Upstream, 0, len(providers))
	for _, p := range providers {
		u, err := url.Parse(p.Base)
		if err != nil {
			return nil, fmt.Errorf("provider %s: %w", p.Name, vendor.ErrBase)
		}
		out = append(out, gate.Upstream{
			Side: policy.Models, Name: p.Name, URL: &url.URL{Scheme: u.Scheme, Host: u.Host},
			Private: p.Private, Connect: p.Connect, FirstByte: p.FirstByte, ConnsMax: p.ConnsMax,
		})
	}
	return out, nil
}

// Credential is key in every form that a provider of row v takes it in; the proxy keeps of them, for each request, the
// one that its endpoint wants.
func Credential(v *vendor.Vendor, key secret.String) oauth.Credential {
	c := oauth.Credential{Headers: map[string]secret.String{}}
	if key.Empty() {
		return c
	}
	for _, d := range vendor.Dialects() {
		h := http.Header{}
		v.AuthFor(d).Apply(h, key.Reveal())
		for name := range h {
			c.Headers[name] = secret.New(h.Get(name))
		}
	}
	return c
}
