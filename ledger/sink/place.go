package sink

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
)

// refusedBytesMax bounds the file of what was put aside. Beyond it an entry is only counted and named in the log: it is in
// the ledger all the same.
const refusedBytesMax = 64 << 20

// place is where a sink stands: the content of its cursor file.
type place struct {
	Position journal.Position  `json:"position"`        // all before is acknowledged
	Until    *journal.Position `json:"until,omitempty"` // the end of the batch that is being sent, for a Whole
	Since    time.Time         `json:"since,omitzero"`  // entries before are passed over; zero: none
	Sent     uint64            `json:"sent"`            // entries that were acknowledged, ever
	Refused  uint64            `json:"refused"`         // entries that were put aside, ever
}

func placeName(sink string) string { return sink + ".json" }

// load reads a sink's place. found is false when it has none yet.
func load(dir durable.Dir, sink string) (p place, found bool, err error) {
	text, err := dir.ReadFile(placeName(sink))
	if errors.Is(err, fs.ErrNotExist) {
		return p, false, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil {
		return p, false, fmt.Errorf("read %s: %w: without the file the sink begins anew", placeName(sink), err)
	}
	return p, true, nil
}

func (p *place) save(dir durable.Dir, sink string) error {
	text, err := json.Marshal(p)
	if err == nil {
		err = dir.Replace(placeName(sink), text)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", placeName(sink), err)
	}
	return nil
}

// aside is a line of the file of refused entries.
type aside struct {
	Time   time.Time     `json:"time"`
	Reason string        `json:"reason"`
	Entry  *ledger.Entry `json:"entry"`
}

// putAside appends an entry to the sink's file of refused ones and returns when it is on disk. kept is false when the file
// is full.
func putAside(dir durable.Dir, sink string, a aside) (kept bool, err error) {
	name := sink + ".refused.jsonl"
	defer func() {
		if err != nil {
			err = fmt.Errorf("put an entry aside in %s: %w", name, err)
		}
	}()
	f, err := dir.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		if f, err = dir.Create(name); err == nil {
			err = dir.Sync()
		}
	}
	if f != nil {
		defer f.Close()
	}
	if err != nil {
		return false, err
	}
	size, err := f.Size()
	if err != nil || size > refusedBytesMax {
		return false, err
	}
	text, err := json.Marshal(a)
	if err != nil {
		return false, err
	}
	if _, err := f.WriteAt(append(text, '\n'), size); err != nil {
		return false, errors.Join(err, f.Truncate(size))
	}
	return true, f.Sync()
}
