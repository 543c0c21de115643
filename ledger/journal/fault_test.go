package journal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tollgate/tollgate/internal/durabletest"
)

// Every operation of a run fails once, in each way. Whatever was promised before must hold afterwards: for the process
// that goes on, for the one that starts after a kill, and for the one that starts after a power cut.
func TestEveryOperationMayFail(t *testing.T) {
	operations := 0
	run := func(t *testing.T, failing int, fault durabletest.Fault) {
		disk := durabletest.New()
		j, _, _ := start(t, disk, Options{SegmentBytes: 500})
		operations = 0
		disk.Break(func(op durabletest.Op, name string) durabletest.Fault {
			operations++
			if operations == failing {
				return fault
			}
			return durabletest.None
		})
		var staged, flushed, synced []string
		for i := range 16 {
			if j.Ready() != nil {
				continue // what was not staged is not promised
			}
			p := fmt.Sprintf("payload %d", i)
			ticket, err := j.Stage([]byte(p))
			if err != nil {
				t.Fatal(err)
			}
			staged = append(staged, p)
			if j.Flush(ticket) == nil {
				flushed = append(flushed, p)
			}
			if i%3 == 0 && j.Synced(context.Background(), ticket) == nil {
				synced = slices.Clone(staged)
			}
			if i%5 == 0 {
				holds(t, "kill", disk.Kill(), flushed, staged)
				holds(t, "power loss", disk.PowerLoss(never), synced, staged)
			}
		}
		if err := j.Sync(context.Background()); err != nil {
			if err := j.Sync(context.Background()); err != nil { // the fault was in this one
				t.Fatal(err)
			}
		}
		disk.Break(nil)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		_, rec, found := start(t, disk.PowerLoss(never), Options{})
		if !slices.Equal(found, staged) || rec.CutBytes != 0 {
			t.Errorf("after Close and power loss: %q, cut %d; want %q", found, rec.CutBytes, staged)
		}
	}
	run(t, 0, durabletest.None)
	total := operations
	if total < 30 {
		t.Fatalf("only %d operations seen", total)
	}
	for n := 1; n <= total; n++ {
		for _, fault := range []durabletest.Fault{durabletest.Lost, durabletest.Half, durabletest.Kept} {
			t.Run(fmt.Sprintf("%d of %d fails/%d", n, total, fault), func(t *testing.T) { run(t, n, fault) })
		}
	}
}

// holds checks that a start on disk finds all that was promised, and nothing that was never staged, in order.
func holds(t *testing.T, after string, disk *durabletest.Disk, promised, staged []string) {
	t.Helper()
	j, _, found := start(t, disk, Options{})
	defer j.Close()
	if len(found) > len(staged) || !slices.Equal(found, staged[:len(found)]) {
		t.Errorf("after %s: %q is not a beginning of %q", after, found, staged)
	}
	for _, p := range promised {
		if !slices.Contains(found, p) {
			t.Errorf("after %s: %q was promised and is gone", after, p)
		}
	}
}

// A disk that fails for longer refuses new work and loses nothing; when it mends, the next call goes through.
func TestFailingDiskRefusesAndRecovers(t *testing.T) {
	for _, op := range []durabletest.Op{durabletest.Write, durabletest.Sync, durabletest.Create, durabletest.Reserve} {
		t.Run(string(op), func(t *testing.T) {
			disk := durabletest.New()
			j, _, _ := start(t, disk, Options{})
			defer j.Close()
			if op != durabletest.Create && op != durabletest.Reserve {
				if _, err := put(j, "before"); err != nil {
					t.Fatal(err)
				}
			}
			disk.Break(func(o durabletest.Op, _ string) durabletest.Fault {
				if o == op {
					return durabletest.Lost
				}
				return durabletest.None
			})
			ticket, err := put(j, "during")
			if err == nil {
				err = j.Synced(context.Background(), ticket)
			}
			if err == nil {
				t.Fatal("nothing failed")
			}
			for range 3 {
				if err := j.Ready(); err == nil {
					t.Fatal("ready on a broken disk")
				}
			}
			disk.Break(nil)
			if err := j.Ready(); err != nil {
				t.Fatalf("mended: %v", err)
			}
			if _, err := put(j, "after"); err != nil {
				t.Fatal(err)
			}
			if err := j.Sync(context.Background()); err != nil {
				t.Fatal(err)
			}
			_, _, found := start(t, disk.PowerLoss(never), Options{})
			if want := []string{"during", "after"}; !slices.Equal(found[len(found)-2:], want) {
				t.Errorf("%q", found)
			}
		})
	}
}

// The power is cut at random places, with a random part of the unsynced writes on the disk: the tail is cut there, what
// was cut is kept, and the start after that finds nothing to mend.
func TestPowerCutLeavesATornTail(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	cuts := 0
	for range 300 {
		disk := durabletest.New()
		j, _, _ := start(t, disk, Options{SegmentBytes: 2000})
		var staged, synced []string
		for i := range 1 + rng.IntN(30) {
			p := fmt.Sprintf("payload %d %x", i, rng.Uint64())
			ticket, err := put(j, p)
			if err != nil {
				t.Fatal(err)
			}
			staged = append(staged, p)
			if rng.IntN(8) == 0 {
				if err := j.Synced(context.Background(), ticket); err != nil {
					t.Fatal(err)
				}
				synced = slices.Clone(staged)
			}
		}
		after := disk.PowerLoss(func() bool { return rng.IntN(2) == 0 })
		j.Close()
		next, rec, found := start(t, after, Options{})
		if len(found) < len(synced) || !slices.Equal(found, staged[:len(found)]) {
			t.Fatalf("found %q of %q, synced %q", found, staged, synced)
		}
		if rec.CutBytes > 0 {
			cuts++
			if kept, err := after.ReadFile(rec.Segment + ".torn"); err != nil || int64(len(kept)) != rec.CutBytes {
				t.Fatalf("the cut tail is not kept: %v", err)
			}
		}
		if _, err := put(next, "next"); err != nil {
			t.Fatal(err)
		}
		if err := next.Close(); err != nil {
			t.Fatal(err)
		}
		_, rec, again := start(t, after, Options{})
		if rec.CutBytes != 0 || !slices.Equal(again, append(found, "next")) {
			t.Fatalf("second start: cut %d, found %q", rec.CutBytes, again)
		}
	}
	if cuts < 30 {
		t.Errorf("only %d of 300 cuts tore a tail", cuts)
	}
}

// A disk that fails until the end does not keep anybody waiting.
func TestCloseOnABrokenDisk(t *testing.T) {
	disk := durabletest.New()
	j, _, _ := start(t, disk, Options{})
	ticket, err := put(j, "payload")
	if err != nil {
		t.Fatal(err)
	}
	disk.Break(func(op durabletest.Op, _ string) durabletest.Fault {
		if op == durabletest.Sync {
			return durabletest.Lost
		}
		return durabletest.None
	})
	if err := j.Close(); !errors.Is(err, durabletest.ErrBroken) {
		t.Errorf("Close: %v", err)
	}
	if err := j.Synced(context.Background(), ticket); err == nil {
		t.Error("synced on a broken disk")
	}
	if err := j.Sync(context.Background()); err == nil {
		t.Error("synced after Close")
	}
}

// The header of the next segment is on the disk, but its sync said it failed: nothing may be added to the segment before,
// though there is room in it, or the header would not continue it.
func TestHeaderThatWasWrittenBindsTheSegmentBefore(t *testing.T) {
	disk := durabletest.New()
	j, _, _ := start(t, disk, Options{})
	if _, err := put(j, "before"); err != nil {
		t.Fatal(err)
	}
	disk.Break(func(op durabletest.Op, name string) durabletest.Fault {
		if name == segmentName(2) && op == durabletest.Sync {
			return durabletest.Kept
		}
		return durabletest.None
	})
	if err := j.seclude(); err == nil { // a day is over
		t.Fatal("nothing failed")
	}
	if _, err := put(j, "while the next segment fails"); err == nil {
		t.Error("it was written")
	}
	if _, _, found := start(t, disk.Kill(), Options{}); !slices.Equal(found, []string{"before"}) {
		t.Errorf("after a kill: %q", found)
	}
	disk.Break(nil)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, found := start(t, disk.PowerLoss(never), Options{}); len(found) != 2 {
		t.Errorf("in the end: %q", found)
	}
}
