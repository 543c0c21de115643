package wire

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/tollgate/tollgate/mcp/upstream"
)

// verdict is what the answer to server/discover says about a server's era.
type verdict int

const (
	isModern verdict = iota
	isLegacy
	askAgain // modern, but it did not mean this request's version
	noServer // nothing answers, or it wants other credentials: no era can help
)

// judge reads the answer to server/discover, over HTTP or a pipe. hello is what a modern server said of itself.
//
// Only the codes that the modern revision mints, and a 404 that says the method is unknown, keep a server modern. A result
// is no proof: some servers answer it and then speak legacy versions only.
func judge(a *upstream.Answer, err error) (v verdict, hello *Peer) {
	if err != nil {
		var f *upstream.Fault
		if errors.As(err, &f) && f.Kind == upstream.Unreachable && (f.HTTP == 0 || f.HTTP == http.StatusUnauthorized || f.HTTP == http.StatusForbidden) {
			return noServer, nil
		}
		return isLegacy, nil
	}
	if e := a.Error; e != nil {
		switch {
		case e.Code == CodeVersion && slices.Contains(Supported(e), ModernVersion):
			return askAgain, nil
		case e.Code == CodeVersion:
			return isLegacy, nil
		case e.Code == CodeHeaderMismatch, e.Code == CodeCapability, e.Code == CodeMethod && e.HTTP == http.StatusNotFound:
			return isModern, nil
		}
		return isLegacy, nil
	}
	hello, err = readDiscover(a.Result)
	if err != nil || !slices.Contains(hello.Versions, ModernVersion) {
		return isLegacy, nil
	}
	return isModern, hello
}

// modernUnknown is a modern server that does not say what it has: each list is tried.
func modernUnknown() *Peer {
	return &Peer{Era: upstream.Modern, Version: ModernVersion, Capabilities: []byte("{}"), Tools: true, Resources: true, Prompts: true}
}

// Probe asks for server/discover, by do, and returns a modern server's peer, or nil for a legacy one.
func Probe(ctx context.Context, c *upstream.Config, do Asker) (*Peer, error) {
	if c.Era == upstream.Legacy {
		return nil, nil
	}
	for range 2 {
		a, err := probeOnce(ctx, do)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		v, hello := judge(a, err)
		switch {
		case v == askAgain:
			continue
		case v == noServer:
			return nil, err
		case v == isModern && hello == nil:
			return modernUnknown(), nil
		case v == isModern:
			return hello, nil
		}
		break
	}
	if c.Era == upstream.Modern {
		return nil, c.Fault(upstream.Garbage, nil, "does not speak protocol version %s, which its era in the config demands", ModernVersion)
	}
	return nil, nil
}

func probeOnce(ctx context.Context, do Asker) (*upstream.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, ProbeTimeout)
	defer cancel()
	return do(ctx, "server/discover", nil)
}
