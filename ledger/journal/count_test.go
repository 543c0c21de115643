package journal

import (
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/tollgate/tollgate/internal/durabletest"
)

// Count says between any two places what reading says.
func TestCount(t *testing.T) {
	disk := durabletest.New()
	for start := range 4 {
		j, _, err := Open(disk, Position{}, Options{Writer: Writer{byte(start + 1)}, SegmentBytes: 300}, func(Frame) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		for i := range 7 * start { // the first writes nothing
			if _, err := put(j, fmt.Sprintf("payload %d", i)); err != nil {
				t.Fatal(err)
			}
			if err := j.Sync(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	places := []Position{{}}
	c := NewCursor(disk, Position{})
	for {
		f, err := c.Next(Written())
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		places = append(places, f.End)
	}
	if len(places) != 1+7+14+21 || places[len(places)-1].Segment < 6 {
		t.Fatalf("%d frames in %d segments", len(places)-1, places[len(places)-1].Segment)
	}
	for i := range places {
		for j := i; j < len(places); j++ {
			if n, err := Count(disk, places[i], places[j]); err != nil || n != uint64(j-i) {
				t.Fatalf("from %d to %d: %d, %v", i, j, n, err)
			}
		}
	}
	if n, err := Count(disk, places[9], places[3]); n != 0 || err != nil {
		t.Errorf("backwards: %d, %v", n, err)
	}
}
