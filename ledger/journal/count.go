package journal

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/tollgate/tollgate/internal/durable"
)

// Count is how many frames lie between two positions, from before to. Where one writer's segment follows another of its own
// the headers say it; only a writer's last segment is read.
func Count(dir durable.Dir, from, to Position) (uint64, error) {
	names, err := dir.List()
	if err != nil {
		return 0, fmt.Errorf("count frames: %w", err)
	}
	later := segments(names)
	total := uint64(0)
	for at := from; at.Before(to); {
		if at.Segment != 0 && at.Writer == to.Writer {
			return total + to.Seq - at.Seq, nil
		}
		var next Position
		if next, later, err = begun(dir, later, at.Segment, to.Segment); err != nil {
			return 0, fmt.Errorf("count frames: %w", err)
		}
		switch {
		case at.Segment == 0:
		case next.Segment != 0 && next.Writer == at.Writer:
			total += next.Seq - at.Seq
		default:
			n, err := rest(dir, at)
			if err != nil {
				return 0, fmt.Errorf("count frames: %w", err)
			}
			total += n
		}
		if next.Segment == 0 {
			return total, nil
		}
		at = next
	}
	return total, nil
}

// begun is the start of the first of the segments that was begun and lies behind one and not behind another, and the
// segments after it. The zero Position: there is none.
func begun(dir durable.Dir, list []uint64, after, last uint64) (Position, []uint64, error) {
	for i, n := range list {
		if n <= after || n > last {
			continue
		}
		f, err := dir.OpenRead(segmentName(n))
		if err != nil {
			return Position{}, nil, err
		}
		h, err := readHeader(f)
		f.Close()
		if errors.Is(err, errNoHeader) {
			continue
		}
		return Position{Segment: n, Offset: headerBytes, Writer: h.writer, Seq: h.first - 1, Chain: h.before}, list[i+1:], err
	}
	return Position{}, nil, nil
}

// rest counts the frames of a segment behind a position.
func rest(dir durable.Dir, at Position) (uint64, error) {
	c := NewCursor(dir, at)
	defer c.Close()
	for n := uint64(0); ; n++ {
		if _, err := c.Next(Position{Segment: at.Segment, Offset: math.MaxInt64}); err == io.EOF {
			return n, nil
		} else if err != nil {
			return 0, err
		}
	}
}
