package sink_test

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/sink"
	"github.com/tollgate/tollgate/ledger/sink/file"
	"github.com/tollgate/tollgate/ledger/sink/shape"
	"github.com/tollgate/tollgate/policy"
)

// nowhere takes everything at once.
type nowhere struct{ shape.Shape }

func (n nowhere) Open(context.Context) (sink.Receiver, error) { return n, nil }
func (nowhere) Send(context.Context, []sink.Line) error       { return nil }
func (nowhere) Close() error                                  { return nil }

var _ io.Closer = nowhere{}

// BenchmarkSink is how fast a backlog is delivered, one operation an entry: with cursor and journal on a real disk. The
// memory that a sink needs for it is reported in MB.
func BenchmarkSink(b *testing.B) {
	dir := b.TempDir()
	l, err := ledger.Open(ledger.Config{Dir: filepath.Join(dir, "journal")})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	for _, of := range []struct {
		name string
		to   func() sink.Opener
	}{
		{"file", func() sink.Opener {
			return file.Config{Shape: shape.Entry, Path: filepath.Join(b.TempDir(), "out.jsonl")}
		}},
		{"file ocsf", func() sink.Opener {
			return file.Config{Shape: shape.OCSF, Path: filepath.Join(b.TempDir(), "out.jsonl")}
		}},
		{"nowhere", func() sink.Opener { return nowhere{shape.Entry} }},
	} {
		b.Run(of.name, func(b *testing.B) {
			from := l.End()
			call := policy.Call{Principal: &policy.Principal{Key: "ci-bot", KeyID: "key_1", Team: "platform"}, Action: policy.ToolCall, Target: "github__search", Upstream: "github"}
			for range b.N {
				if err := l.Deny(&call, &policy.Decision{}, "rule no-search: not today"); err != nil {
					b.Fatal(err)
				}
			}
			if err := l.Sync(b.Context()); err != nil {
				b.Fatal(err)
			}
			cursors, err := durable.Disk(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			s, err := sink.NewSet(sink.Config{Dir: cursors, Ledger: l, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			e, err := l.Reader(from).Next()
			if err != nil {
				b.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			b.ReportAllocs()
			b.ResetTimer()
			s.Apply([]sink.Spec{{Name: "x", From: sink.From{Since: e.Time}, Opener: of.to(), Batch: sink.Batch{Entries: 2000, Bytes: 4 << 20, Wait: time.Millisecond}}})
			if err := s.CatchUp(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(max(after.HeapAlloc, before.HeapAlloc)-before.HeapAlloc)/1e6, "MB-held")
			if err := s.Close(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}
