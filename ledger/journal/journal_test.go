package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/internal/durabletest"
)

// start opens the journal as a new writer and returns what it holds.
func start(t *testing.T, dir durable.Dir, o Options) (*Journal, Recovery, []string) {
	t.Helper()
	if o.Writer == (Writer{}) {
		names, err := dir.List()
		if err != nil {
			t.Fatal(err)
		}
		o.Writer = Writer{byte(len(names)), 7}
	}
	var found []string
	j, rec, err := Open(dir, Position{}, o, func(f Frame) error {
		found = append(found, string(f.Payload))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return j, rec, found
}

func put(j *Journal, payload string) (Ticket, error) {
	t, err := j.Stage([]byte(payload))
	if err == nil {
		err = j.Flush(t)
	}
	return t, err
}

func TestPayloadsComeBackInOrderAcrossSegmentsAndStarts(t *testing.T) {
	dir, err := durable.Disk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for run := range 3 {
		j, rec, found := start(t, dir, Options{SegmentBytes: 1000})
		if !slices.Equal(found, want) {
			t.Fatalf("start %d found %d payloads, want %d", run, len(found), len(want))
		}
		if rec.CutBytes != 0 {
			t.Errorf("start %d cut %d bytes: %s", run, rec.CutBytes, rec.Reason)
		}
		for i := range 50 {
			p := fmt.Sprintf("run %d payload %d", run, i)
			if _, err := put(j, p); err != nil {
				t.Fatal(err)
			}
			want = append(want, p)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := j.Stage([]byte("late")); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
	names, _ := dir.List()
	if n := len(segments(names)); n < 6 {
		t.Errorf("%d segments; they should have rotated", n)
	}
}

func TestOnlyOneProcessWrites(t *testing.T) {
	dir, err := durable.Disk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	j, _, _ := start(t, dir, Options{})
	if _, _, err := Open(dir, Position{}, Options{}, nil); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("second writer: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j, _, _ = start(t, dir, Options{})
	j.Close()
}

// Callers that write at the same time share writes and syncs; each still gets its own place.
func TestConcurrentCallersEachGetAPlace(t *testing.T) {
	disk := durabletest.New()
	j, _, _ := start(t, disk, Options{SegmentBytes: 20_000})
	var wg sync.WaitGroup
	for g := range 64 {
		wg.Go(func() {
			for i := range 50 {
				ticket, err := put(j, fmt.Sprintf("%d/%d", g, i))
				if err == nil {
					err = j.Synced(context.Background(), ticket)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	_, _, found := start(t, disk.PowerLoss(never), Options{})
	if len(found) != 64*50 {
		t.Errorf("%d payloads after power loss, want %d", len(found), 64*50)
	}
	last := map[int]int{}
	for _, p := range found {
		var g, i int
		fmt.Sscanf(p, "%d/%d", &g, &i)
		if last[g] != i {
			t.Fatalf("caller %d: payload %d where %d belongs", g, i, last[g])
		}
		last[g]++
	}
	j.Close()
}

func never() bool { return false }

// A cursor that follows reads what is synced, and nothing beyond.
func TestCursorFollowsWhatIsSynced(t *testing.T) {
	disk := durabletest.New()
	j, _, _ := start(t, disk, Options{SegmentBytes: 500})
	defer j.Close()
	c := NewCursor(disk, Position{})
	defer c.Close()
	for i := range 40 {
		payload := fmt.Sprintf("payload %d", i)
		ticket, err := put(j, payload)
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Synced(context.Background(), ticket); err != nil {
			t.Fatal(err)
		}
		end, _ := j.Durable()
		f, err := c.Next(end)
		if err != nil || string(f.Payload) != payload || f.Seq != uint64(i+1) {
			t.Fatalf("payload %d: %q, %v", i, f.Payload, err)
		}
		if _, err := c.Next(end); err != io.EOF {
			t.Fatalf("beyond the end: %v", err)
		}
		if c.Position() != end {
			t.Fatalf("cursor at %+v, journal at %+v", c.Position(), end)
		}
	}
	// One that starts in the middle goes on from there.
	middle := NewCursor(disk, Position{})
	defer middle.Close()
	var from Position
	for range 17 {
		f, err := middle.Next(Written())
		if err != nil {
			t.Fatal(err)
		}
		from = f.End
	}
	again := NewCursor(disk, from)
	defer again.Close()
	if f, err := again.Next(Written()); err != nil || string(f.Payload) != "payload 17" {
		t.Errorf("%q, %v", f.Payload, err)
	}
}

func TestDamageIsFound(t *testing.T) {
	build := func() *durabletest.Disk {
		disk := durabletest.New()
		j, _, _ := start(t, disk, Options{SegmentBytes: 400})
		for i := range 20 {
			if _, err := put(j, fmt.Sprintf("payload %d", i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		return disk
	}
	read := func(disk *durabletest.Disk) error {
		c := NewCursor(disk, Position{})
		defer c.Close()
		for {
			if _, err := c.Next(Written()); err != nil {
				return err
			}
		}
	}
	if err := read(build()); err != io.EOF {
		t.Fatal(err)
	}
	names, _ := build().List()
	for _, name := range names[:len(names)-1] {
		f, _ := build().Open(name)
		size, _ := f.Size()
		for offset := range int(size) {
			disk := build()
			disk.Damage(name, offset)
			var torn *TornError
			if err := read(disk); !errors.As(err, &torn) {
				t.Fatalf("%s, byte %d changed: %v", name, offset, err)
			}
			if _, _, err := Open(disk, Position{}, Options{Writer: Writer{9}}, nil); err == nil {
				t.Fatalf("%s, byte %d changed: Open passes over it", name, offset)
			}
		}
		disk := build()
		disk.Remove(name)
		if err := read(disk); err == io.EOF {
			t.Errorf("%s removed: nothing found", name)
		}
	}
}
