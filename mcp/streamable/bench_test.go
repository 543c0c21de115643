package streamable_test

import (
	"testing"

	"github.com/tollgate/tollgate/internal/mcptest"
	"github.com/tollgate/tollgate/internal/upstreamtest"
)

func benchmarkHTTP(b *testing.B, script mcptest.Script) {
	script.Tools = []string{echoTool}
	script.On = map[string]func(*mcptest.Request){"tools/call": func(q *mcptest.Request) {
		q.Result(`{"content":[{"type":"text","text":"hello"}]}`)
	}}
	f, _ := httpFixture(b, mcptest.Raw(b, script).Server)
	upstreamtest.Benchmark(b, f)
}

func BenchmarkCallModern(b *testing.B) { benchmarkHTTP(b, mcptest.Script{}) }

func BenchmarkCallLegacy(b *testing.B) { benchmarkHTTP(b, legacy(mcptest.Script{Sessions: true})) }
