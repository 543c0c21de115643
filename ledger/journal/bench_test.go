package journal

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/durable"
)

func benchJournal(b *testing.B, syncTook func(time.Duration)) *Journal {
	dir, err := durable.Disk(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	j, _, err := Open(dir, Position{}, Options{Writer: Writer{1}, SyncTook: syncTook}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { j.Close() })
	return j
}

// BenchmarkAppend is an entry handed to the kernel, as a call with overlap or relaxed waits for it.
func BenchmarkAppend(b *testing.B) {
	j := benchJournal(b, nil)
	payload := make([]byte, 300)
	b.ReportAllocs()
	for b.Loop() {
		t, err := j.Stage(payload)
		if err == nil {
			err = j.Flush(t)
		}
		if err != nil {
			b.Fatal(err)
		}
		j.SyncLazily()
	}
}

// BenchmarkGroupCommit is an entry that its caller waits for until it is on the disk, with others who do the same.
func BenchmarkGroupCommit(b *testing.B) {
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			var syncs, syncing atomic.Int64
			j := benchJournal(b, func(d time.Duration) { syncs.Add(1); syncing.Add(int64(d)) })
			payload := make([]byte, 300)
			b.ReportAllocs()
			b.SetParallelism(max(1, callers/runtime.GOMAXPROCS(0)))
			commit := func() {
				t, err := j.Stage(payload)
				if err == nil {
					err = j.Synced(context.Background(), t)
				}
				if err != nil {
					b.Error(err)
				}
			}
			if callers == 1 {
				for b.Loop() {
					commit()
				}
			} else {
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						commit()
					}
				})
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
			b.ReportMetric(float64(b.N)/float64(max(syncs.Load(), 1)), "entries/sync")
			b.ReportMetric(100*float64(syncing.Load())/float64(b.Elapsed()), "%syncing")
		})
	}
}

// BenchmarkFloor is what a group of 256 entries cannot cost less than: one write and one sync of so many bytes. Set
// BenchmarkGroupCommit against it in the same run; both move with the machine and its disk.
func BenchmarkFloor(b *testing.B) {
	dir, err := durable.Disk(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	f, err := dir.Create("floor")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	const size = 64 << 20
	if err := f.Reserve(size); err != nil {
		b.Fatal(err)
	}
	group := make([]byte, 256*(frameBytes+300))
	offset := int64(0)
	for b.Loop() {
		if _, err := f.WriteAt(group, offset); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		offset = (offset + int64(len(group))) % (size - int64(len(group)))
	}
	b.ReportMetric(256*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}
