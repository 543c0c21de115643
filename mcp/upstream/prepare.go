package upstream

import (
	"errors"
	"log/slog"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/policy"
)

// Prepare says what is missing in c, and fills in what may be left out.
func (c *Config) Prepare() error {
	switch {
	case c.Gate == nil || c.Name == "":
		return errors.New("mcp server: Config needs Gate and Name")
	case (c.URL == nil) == (len(c.Command) == 0):
		return errors.New("mcp server " + c.Name + ": needs url or command, and not both")
	case c.Era != "" && c.Era != Legacy && c.Era != Modern:
		return errors.New("mcp server " + c.Name + `: era is "legacy", "modern" or left out`)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Version == "" {
		c.Version = "dev"
	}
	return nil
}

// ClientInfo is what servers are told of the gateway: a raw object.
func (c *Config) ClientInfo() []byte {
	return append(strictjson.Quote([]byte(`{"name":"tollgate","version":`), c.Version), '}')
}

// Own is a call that the gateway makes in its own name.
func (c *Config) Own(a policy.Action) policy.Call { return policy.Call{Action: a, Upstream: c.Name} }

// Heard tells the gateway of a change, if it listens.
func (c *Config) Heard(what Change) {
	if c.Changed != nil {
		c.Changed(what)
	}
}

// Done settles one of the gateway's own calls by its answer.
func Done(permit *gate.Permit, a *Answer) {
	if a.Error != nil {
		permit.Done(ledger.Failed, a.Error.Code, "")
		return
	}
	permit.Done(ledger.OK, 0, "")
}

// NoSubscriptions is what a server that has no subscriptions says.
func NoSubscriptions() *Answer {
	return &Answer{Error: NewError(-32601, "this server has no subscriptions")}
}
