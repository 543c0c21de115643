package stdio_test

import (
	"testing"

	"github.com/tollgate/tollgate/internal/mcptest"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/internal/upstreamtest"
	"github.com/tollgate/tollgate/mcp/stdio"
	"github.com/tollgate/tollgate/mcp/upstream"
)

func TestMain(m *testing.M) { mcptest.Main(m) }

// newFixture is a Server of cfg.
func newFixture(t testing.TB, cfg upstream.Config) *upstreamtest.Fixture {
	t.Helper()
	return upstreamtest.New(t, cfg, stdio.New)
}

// stdioFixture is a child with these traits, discovered.
func stdioFixture(t testing.TB, traits ...string) (*upstreamtest.Fixture, *upstream.Offer) {
	t.Helper()
	return upstreamtest.Discovered(t, newFixture(t, upstream.Config{Command: mcptest.Command(traits...), Env: quick()}))
}

// quick spares children built with the race detector its second at exit.
func quick() map[string]secret.String {
	return map[string]secret.String{"GORACE": secret.New("atexit_sleep_ms=0")}
}
