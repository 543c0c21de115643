package journal

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/internal/durabletest"
)

// On a full disk new work is refused, and what was begun still gets its end, thousands of times; when room is made, it
// goes on. It is so wherever the room ends: in a segment, and where the next one should begin.
func TestFullDiskRefusesNewWorkAndTakesEnds(t *testing.T) {
	const ends = 9000 // of calls under way, 350 bytes each
	for name, segmentBytes := range map[string]int64{"in a segment": 64 << 20, "where the next begins": 64 << 10} {
		t.Run(name, func(t *testing.T) {
			disk := durabletest.New()
			j, _, _ := start(t, disk, Options{SegmentBytes: segmentBytes})
			defer j.Close()
			var want []string
			write := func() {
				t.Helper()
				p := fmt.Sprintf("%0300d", len(want))
				if _, err := put(j, p); err != nil {
					t.Fatalf("payload %d: %v", len(want), err)
				}
				want = append(want, p)
			}
			write()
			disk.Limit(disk.Taken()) // and no more
			for ; j.Ready() == nil; write() {
				if len(want) > 100_000 {
					t.Fatal("it never refuses")
				}
			}
			if err := j.Ready(); !durable.IsFull(err) {
				t.Errorf("the refusal says %v", err)
			}
			for range ends {
				write()
			}
			if err := j.Sync(context.Background()); err != nil {
				t.Errorf("what was written is not synced: %v", err)
			}
			if err := j.Ready(); !durable.IsFull(err) {
				t.Errorf("still full, and it says %v", err)
			}
			full := disk.PowerLoss(never)
			if _, _, found := start(t, full, Options{}); !slices.Equal(found, want) {
				t.Errorf("%d of %d payloads after the power was cut on a full disk", len(found), len(want))
			}
			disk.Limit(1 << 30)
			if err := j.Ready(); err != nil {
				t.Fatalf("there is room: %v", err)
			}
			for range 1000 {
				write()
			}
			if err := j.Sync(context.Background()); err != nil {
				t.Fatal(err)
			}
			if _, _, found := start(t, disk.PowerLoss(never), Options{}); !slices.Equal(found, want) {
				t.Errorf("%d of %d payloads", len(found), len(want))
			}
		})
	}
}

// When even the spare is used up, what is staged waits in memory and is written once there is room.
func TestFullDiskBeyondTheSpare(t *testing.T) {
	disk := durabletest.New()
	j, _, _ := start(t, disk, Options{})
	defer j.Close()
	var want []string
	refused := 0
	for i := range 3 * spareBytes / 10_000 {
		p := fmt.Sprintf("%010000d", i)
		if _, err := put(j, p); err != nil {
			refused++
		}
		want = append(want, p)
		if i == 0 {
			disk.Limit(disk.Taken())
		}
	}
	if refused == 0 {
		t.Fatal("it never failed")
	}
	if err := j.Sync(context.Background()); !durable.IsFull(err) {
		t.Errorf("synced on a full disk: %v", err)
	}
	disk.Limit(0)
	if err := j.Ready(); err != nil {
		t.Fatal(err)
	}
	if err := j.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, _, found := start(t, disk.PowerLoss(never), Options{}); !slices.Equal(found, want) {
		t.Errorf("%d of %d payloads", len(found), len(want))
	}
}
