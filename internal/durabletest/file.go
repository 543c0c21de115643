package durabletest

import "io"

// file is an open file.
type file struct {
	d    *Disk
	name string
	c    *content
}

func (f *file) ReadAt(b []byte, offset int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if offset >= int64(len(f.c.kernel)) {
		return 0, io.EOF
	}
	n := copy(b, f.c.kernel[offset:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(b []byte, offset int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	fault := f.d.fault(Write, f.name)
	switch fault {
	case Lost:
		return 0, broken(Write, f.name)
	case Half:
		b = b[:len(b)/2]
	}
	at := int(offset)
	room, full := f.d.fits(f.c, offset+int64(len(b)))
	if full != nil {
		b = b[:max(room-offset, 0)]
	}
	f.c.kernel = overwrite(f.c.kernel, b, at)
	f.c.dirty = append(f.c.dirty, [2]int{at, at + len(b)})
	if fault != None {
		return len(b) / 2, broken(Write, f.name)
	}
	return len(b), full
}

func (f *file) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	fault := f.d.fault(Sync, f.name)
	for i, r := range f.c.dirty {
		if fault == Lost || fault == Half && i%2 == 1 {
			continue
		}
		f.c.disk = overwrite(f.c.disk, f.c.part(r), r[0])
	}
	f.c.dirty = nil
	if fault != None {
		return broken(Sync, f.name)
	}
	f.c.disk = f.c.disk[:min(len(f.c.disk), len(f.c.kernel))]
	return nil
}

func (f *file) Reserve(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if _, err := f.d.fits(f.c, size); err != nil {
		return err
	}
	fault := f.d.fault(Reserve, f.name)
	if fault == None || fault == Kept { // a page of zeros stands for all the room that is asked for
		f.c.room = max(f.c.room, size)
		room := min(int(size), len(f.c.kernel)+4096)
		f.c.kernel = overwrite(f.c.kernel, nil, room)
		f.c.disk = overwrite(f.c.disk, nil, room)
	}
	if fault != None {
		return broken(Reserve, f.name)
	}
	return nil
}

func (f *file) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	fault := f.d.fault(Truncate, f.name)
	if fault == None || fault == Kept {
		f.c.kernel = overwrite(f.c.kernel, nil, int(size))[:size]
		f.c.room = min(f.c.room, size)
	}
	if fault != None {
		return broken(Truncate, f.name)
	}
	return nil
}

func (f *file) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return int64(len(f.c.kernel)), nil
}

func (f *file) Close() error { return nil }
