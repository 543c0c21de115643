package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/tollgate/tollgate/internal/durable"
)

// errFull means that what is staged goes into a new segment.
var errFull = errors.New("the segment is full")

// write hands all staged bytes to the kernel. The caller holds writing.
func (j *Journal) write() error {
	todo, end := j.unwritten()
	if len(todo) == 0 {
		return nil
	}
	offset := j.base + int64(j.writtenBytes)
	if j.file == nil || j.headed || offset > headerBytes && offset+int64(len(todo)) > j.segmentBytes {
		return errFull
	}
	return j.put(todo, end)
}

// unwritten is what the kernel does not have yet, and its last frame. The caller holds writing.
func (j *Journal) unwritten() ([]byte, mark) {
	j.staging.Lock()
	defer j.staging.Unlock()
	return j.tail[j.writtenBytes:], j.staged
}

// put writes what unwritten returned to the current segment. The caller holds writing.
func (j *Journal) put(todo []byte, end mark) error {
	offset := j.base + int64(j.writtenBytes)
	if err := j.reserve(offset + int64(len(todo))); err != nil {
		return err
	}
	if _, err := j.file.WriteAt(todo, offset); err != nil {
		return j.fail("write", err)
	}
	j.writtenBytes += len(todo)
	j.written = end
	j.writtenSeq.Store(end.seq)
	return nil
}

// reserve preallocates the file past end and the spare behind it. When there is no room for that, but end lies in the
// spare, it returns nil all the same and new work is refused from then on. The caller holds writing.
func (j *Journal) reserve(end int64) error {
	if end+spareBytes <= j.reserved {
		return nil
	}
	size := max(end, min((end/reserveBytes+1)*reserveBytes, j.segmentBytes)) + spareBytes
	err := j.file.Reserve(size)
	if err == nil {
		j.reserved, j.cramped = size, nil
		return nil
	}
	err = j.fail("make room in", err)
	if end > j.reserved {
		return err
	}
	j.cramped = err
	return nil
}

// spread looks whether there is room again. The caller holds syncing, and all that was staged is on the disk.
func (j *Journal) spread() error {
	j.writing.Lock()
	defer j.writing.Unlock()
	if j.cramped == nil {
		return nil
	}
	end := j.base + int64(j.writtenBytes)
	var err error
	if end+spareBytes > j.reserved {
		err = j.reserve(end)
	} else { // it was the next segment that could not be made
		err = j.turn()
	}
	if err == nil {
		err = j.cramped
	}
	j.failing.Store(err != nil)
	return err
}

func (j *Journal) fail(doing string, err error) error {
	j.failing.Store(true)
	return fmt.Errorf("%s journal %s: %w", doing, segmentName(j.segment), err)
}

// sync writes and forces everything staged, and releases the group that waits for it.
func (j *Journal) sync() error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	return j.force()
}

// force is sync for a caller that holds syncing.
func (j *Journal) force() error {
	j.asked.Store(false)
	j.gathering.Store(false)
	j.writing.Lock()
	j.staging.Lock()
	g := j.group // swapped before the write, so that all its frames are in it
	j.group = &group{done: make(chan struct{})}
	j.staging.Unlock()
	err := j.write()
	if errors.Is(err, errFull) {
		err = j.turn()
	}
	file, end, length, cramped := j.file, j.written, j.writtenBytes, j.cramped
	j.writing.Unlock()

	if err == nil && length > 0 {
		begun := time.Now()
		err = file.Sync()
		took := time.Since(begun)
		j.writing.Lock()
		if err != nil {
			err = j.rewind(err)
		} else {
			j.advance(end, length)
		}
		j.writing.Unlock()
		defer j.syncTook(took) // once nobody waits any more
	}
	if err == nil && cramped == nil {
		j.failing.Store(false)
	}
	g.err = err
	close(g.done)
	return err
}

// advance forgets the first length bytes of tail, which are synced up to end. The caller holds syncing and writing.
func (j *Journal) advance(end mark, length int) {
	j.staging.Lock()
	n := copy(j.tail, j.tail[length:])
	j.tail = j.tail[:n]
	if cap(j.tail) > 1<<20 && n < 64<<10 { // a burst is over
		j.tail = append(make([]byte, 0, 128<<10), j.tail...)
	}
	j.base += int64(length)
	j.tailBytes.Store(int64(n))
	j.syncedEnd.Store(&Position{j.segment, j.base, j.writer, end.seq, end.chain})
	j.staging.Unlock()
	j.writtenBytes -= length
	j.synced = end
	j.syncedSeq.Store(end.seq)
}

// rewind makes everything since the last good sync count as not written: after a failed sync the kernel may have
// dropped it. The bytes are still in tail and go to the same place again. The caller holds writing.
func (j *Journal) rewind(err error) error {
	j.writtenBytes = 0
	j.written = j.synced
	j.writtenSeq.Store(j.synced.seq)
	return j.fail("sync", err)
}

// rotate goes on in a new segment and writes there what is staged.
func (j *Journal) rotate() error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.writing.Lock()
	defer j.writing.Unlock()
	err := j.write() // another caller may have rotated meanwhile
	if errors.Is(err, errFull) {
		err = j.turn()
	}
	return err
}

// seclude goes on in a new segment when there is something in this one, so that it spans no more than the time between
// two calls.
func (j *Journal) seclude() error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.writing.Lock()
	defer j.writing.Unlock()
	if j.file == nil || j.base+int64(j.writtenBytes) <= headerBytes {
		return nil
	}
	if err := j.settle(); err != nil {
		return err
	}
	f, err := j.prepare()
	if err != nil {
		return err
	}
	return j.begin(f)
}

// turn goes on in the next segment, or where there is no room for one in the spare of this one. The caller holds syncing
// and writing.
func (j *Journal) turn() error {
	if err := j.settle(); err != nil {
		return err
	}
	f, err := j.prepare()
	if err != nil {
		return j.overrun(err)
	}
	return j.begin(f)
}

// prepare makes the file of the next segment and takes the room for it, before anything else changes.
func (j *Journal) prepare() (durable.File, error) {
	f, err := create(j.dir, segmentName(j.segment+1))
	if err != nil {
		return nil, j.fail("make the segment after", err)
	}
	if err := f.Reserve(j.firstBytes()); err != nil {
		f.Close()
		return nil, j.fail("make room for the segment after", err)
	}
	return f, nil
}

// firstBytes is how much of a new segment is preallocated.
func (j *Journal) firstBytes() int64 { return min(reserveBytes, j.segmentBytes) + spareBytes }

// begin seals the current segment, makes f the next one and writes there what is staged. A crash in between leaves a
// sealed segment and perhaps a file without a header, which readers skip. The caller holds syncing and writing and has
// settled the current segment.
func (j *Journal) begin(f durable.File) error {
	err := j.seal()
	if err == nil {
		j.headed = true
		h := header{writer: j.writer, first: j.synced.seq + 1, before: j.synced.chain}
		_, err = f.WriteAt(h.append(nil), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = j.dir.Sync()
	}
	if err != nil {
		f.Close()
		return j.fail("begin the segment after", err)
	}
	if j.file != nil {
		j.file.Close() // sealed: nothing is lost with it
	}
	j.file, j.segment, j.reserved, j.cramped, j.headed = f, j.segment+1, j.firstBytes(), nil, false
	j.staging.Lock()
	j.base = headerBytes
	j.staging.Unlock()
	return j.write()
}

// overrun writes what is staged into the spare of a segment that is full, because the next one could not be made: why.
// The caller holds syncing and writing.
func (j *Journal) overrun(why error) error {
	todo, end := j.unwritten()
	if j.file == nil || j.headed || j.base+int64(len(todo)) > j.reserved {
		return why
	}
	j.cramped = why
	if len(todo) == 0 {
		return nil
	}
	return j.put(todo, end)
}

// create makes the named file, or takes the one that an earlier try of this process left: no reader looks at a segment
// before the first sync of it.
func create(dir durable.Dir, name string) (durable.File, error) {
	f, err := dir.Create(name)
	if errors.Is(err, fs.ErrExist) {
		return dir.Open(name)
	}
	return f, err
}

// settle forces what the current segment has. The caller holds syncing and writing.
func (j *Journal) settle() error {
	if j.file == nil || j.writtenBytes == 0 {
		return nil
	}
	if err := j.file.Sync(); err != nil {
		return j.rewind(err)
	}
	j.advance(j.written, j.writtenBytes)
	return nil
}

// seal cuts the current segment after its last synced frame, so that what goes to the next segment stands in one of them
// only. The caller has settled it.
func (j *Journal) seal() error {
	if j.file == nil {
		return nil
	}
	err := j.file.Truncate(j.base)
	if err == nil {
		j.reserved = j.base
		err = j.file.Sync()
	}
	return err
}
