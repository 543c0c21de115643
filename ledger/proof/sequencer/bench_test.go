package sequencer

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	"github.com/tollgate/tollgate/ledger/proof"
)

// BenchmarkFollow is everything that happens to an entry between the journal and the tree, in a file: reading, checking,
// hashing, storing.
func BenchmarkFollow(b *testing.B) {
	const entries = 100_000
	var took time.Duration
	for b.Loop() {
		b.StopTimer()
		r := newReplica(b, "a")
		s := fileStores(b)(r)
		r.write(entries)
		l := r.log(s)
		b.StartTimer()
		begun := time.Now()
		settle(b, l)
		took += time.Since(begun)
	}
	b.ReportMetric(float64(took.Nanoseconds())/float64(b.N*entries), "ns/entry")
}

// BenchmarkVerify verifies an export that is there.
func BenchmarkVerify(b *testing.B) {
	const entries = 100_000
	r := newReplica(b, "a")
	s := fileStores(b)(r)
	r.write(entries)
	settle(b, r.log(s))
	var out bytes.Buffer
	if _, err := s.Export(context.Background(), &out, Range{}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		trust, err := proof.NewTrust(verifier(b, s, 1))
		if err != nil {
			b.Fatal(err)
		}
		report, err := proof.Verify(context.Background(), proof.NewLines(bytes.NewReader(out.Bytes())), proof.Options{Trust: trust})
		if err != nil || report.Bad != nil || report.Entries != entries {
			b.Fatal(report, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*entries), "ns/entry")
}

// BenchmarkExport writes an export to nowhere.
func BenchmarkExport(b *testing.B) {
	const entries = 100_000
	r := newReplica(b, "a")
	s := fileStores(b)(r)
	r.write(entries)
	settle(b, r.log(s))
	for b.Loop() {
		if _, err := s.Export(context.Background(), io.Discard, Range{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*entries), "ns/entry")
}
