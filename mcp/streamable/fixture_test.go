package streamable_test

import (
	"testing"

	"github.com/tollgate/tollgate/internal/mcptest"
	"github.com/tollgate/tollgate/internal/upstreamtest"
	"github.com/tollgate/tollgate/mcp/streamable"
	"github.com/tollgate/tollgate/mcp/upstream"
)

// newFixture is a Server of cfg.
func newFixture(t testing.TB, cfg upstream.Config) *upstreamtest.Fixture {
	t.Helper()
	return upstreamtest.New(t, cfg, streamable.New)
}

// httpFixture is a Server at s, discovered.
func httpFixture(t testing.TB, s *mcptest.Server) (*upstreamtest.Fixture, *upstream.Offer) {
	t.Helper()
	return upstreamtest.Discovered(t, newFixture(t, upstream.Config{URL: s.URL}))
}
