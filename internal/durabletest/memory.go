// Package durabletest is a disk in memory that can be broken on purpose, for tests of what stands on package durable.
//
// It keeps apart what the kernel has and what the disk has, so a test can kill the process (the kernel's content stays)
// or cut the power (only what was synced stays), and it can fail any operation both ways: failed and lost, failed but
// done all the same.
package durabletest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"sync"

	"github.com/tollgate/tollgate/internal/durable"
)

// Op names an operation that a hook may fail.
type Op string

// The operations.
const (
	Create   Op = "create"
	Write    Op = "write"
	Sync     Op = "sync"
	SyncDir  Op = "sync dir"
	Reserve  Op = "reserve"
	Truncate Op = "truncate"
	Replace  Op = "replace"
	Remove   Op = "remove"
)

// Fault is how an operation fails.
type Fault uint8

// The faults. A sync that fails Lost leaves the data in the kernel but no longer marked for the disk: a later sync does
// not cover it, as on Linux.
const (
	None Fault = iota
	Lost       // it fails and nothing of it happened
	Half       // it fails and a part of it happened
	Kept       // it fails although all of it happened
)

// ErrBroken is what a failed operation returns.
var ErrBroken = errors.New("the disk is broken on purpose")

// Disk is a directory in memory. It implements durable.Dir.
type Disk struct {
	mu     sync.Mutex
	files  map[string]*content
	synced map[string]*content // names that are durable
	locked bool
	limit  int64 // bytes there are; 0: no end
	hook   func(op Op, name string) Fault
}

// content is a file: what the kernel has, what the disk has, and which parts of the first are marked for the second.
type content struct {
	kernel, disk []byte
	dirty        [][2]int
	room         int64 // that was reserved
}

// New returns an empty disk.
func New() *Disk { return &Disk{files: map[string]*content{}, synced: map[string]*content{}} }

// Break sets the hook that is asked before every operation; nil: nothing fails.
func (d *Disk) Break(hook func(op Op, name string) Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hook = hook
}

// Limit makes the disk one of so many bytes; 0: without an end.
func (d *Disk) Limit(bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.limit = bytes
}

// fits returns how much of a file that grows to size there is room for, and an error when that is not all of it. The
// caller holds d.mu.
func (d *Disk) fits(c *content, size int64) (int64, error) {
	if d.limit == 0 || size <= c.taken() {
		return size, nil
	}
	left := d.limit
	for _, other := range d.files {
		if other != c {
			left -= other.taken()
		}
	}
	if size <= left {
		return size, nil
	}
	return max(left, c.taken()), durable.ErrFull
}

func (c *content) taken() int64 { return max(int64(len(c.kernel)), c.room) }

// Free implements durable.Dir.
func (d *Disk) Free() (int64, error) {
	taken := d.Taken()
	d.mu.Lock()
	defer d.mu.Unlock()
	return max(d.limit-taken, 0), nil
}

// Taken is how many bytes the files take.
func (d *Disk) Taken() (bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.files {
		bytes += c.taken()
	}
	return bytes
}

// Kill returns the disk as the next process finds it after this one was killed: all that the kernel had, of which no more
// is on the disk than before.
func (d *Disk) Kill() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := New()
	clones := map[*content]*content{}
	clone := func(c *content) *content {
		if clones[c] == nil {
			clones[c] = &content{slices.Clone(c.kernel), slices.Clone(c.disk), slices.Clone(c.dirty), c.room}
		}
		return clones[c]
	}
	for name, c := range d.files {
		after.files[name] = clone(c)
	}
	for name, c := range d.synced {
		after.synced[name] = clone(c)
	}
	return after
}

// PowerLoss returns the disk as the next process finds it after the power was cut: what was synced, and of what was not,
// those parts that keep says, asked for each write, made name and removed name in a fixed order.
func (d *Disk) PowerLoss(keep func() bool) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := New()
	names := maps.Clone(d.synced)
	maps.Copy(names, d.files)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		c, durable := d.synced[name]
		switch now := d.files[name]; {
		case now == nil && keep(): // removed
			continue
		case !durable && !keep(): // made
			continue
		case !durable:
			c = now
		}
		left := slices.Clone(c.disk)
		for _, r := range c.dirty {
			if keep() {
				left = overwrite(left, c.part(r), r[0])
			}
		}
		after.files[name] = &content{kernel: left, disk: slices.Clone(left)}
	}
	after.synced = maps.Clone(after.files)
	return after
}

// Damage changes a stored byte of a file.
func (d *Disk) Damage(name string, offset int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.files[name]
	c.kernel[offset] ^= 0x40
	if offset < len(c.disk) {
		c.disk[offset] ^= 0x40
	}
}

// part is a range of the kernel's content, as far as it was not cut off.
func (c *content) part(r [2]int) []byte {
	n := len(c.kernel)
	return c.kernel[min(r[0], n):min(r[1], n)]
}

func overwrite(b, with []byte, at int) []byte {
	if need := at + len(with); need > len(b) {
		b = append(b, make([]byte, need-len(b))...)
	}
	copy(b[at:], with)
	return b
}

// fault asks the hook. The caller holds d.mu.
func (d *Disk) fault(op Op, name string) Fault {
	if d.hook == nil {
		return None
	}
	return d.hook(op, name)
}

func broken(op Op, name string) error { return fmt.Errorf("%s %s: %w", op, name, ErrBroken) }

// Create implements durable.Dir.
func (d *Disk) Create(name string) (durable.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files[name] != nil {
		return nil, fs.ErrExist
	}
	f := d.fault(Create, name)
	if f == None || f == Kept {
		d.files[name] = &content{}
	}
	if f != None {
		return nil, broken(Create, name)
	}
	return &file{d, name, d.files[name]}, nil
}

// Open implements durable.Dir.
func (d *Disk) Open(name string) (durable.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.files[name]
	if c == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &file{d, name, c}, nil
}

// OpenRead implements durable.Dir.
func (d *Disk) OpenRead(name string) (durable.File, error) { return d.Open(name) }

// List implements durable.Dir.
func (d *Disk) List() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.files)), nil
}

// ReadFile implements durable.Dir.
func (d *Disk) ReadFile(name string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.files[name]
	if c == nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	}
	return slices.Clone(c.kernel), nil
}

// Replace implements durable.Dir.
func (d *Disk) Replace(name string, b []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.fits(&content{}, int64(len(b))); err != nil { // beside the old content
		return err
	}
	f := d.fault(Replace, name)
	if f == None || f == Kept {
		d.files[name] = &content{kernel: slices.Clone(b), disk: slices.Clone(b)}
		d.synced[name] = d.files[name]
	}
	if f != None {
		return broken(Replace, name)
	}
	return nil
}

// Remove implements durable.Dir. Without a Sync the power brings the file back.
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files[name] == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	f := d.fault(Remove, name)
	if f == None || f == Kept {
		delete(d.files, name)
	}
	if f != None {
		return broken(Remove, name)
	}
	return nil
}

// Sync implements durable.Dir.
func (d *Disk) Sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.fault(SyncDir, "")
	if f == None || f == Kept {
		d.synced = maps.Clone(d.files)
	}
	if f != None {
		return broken(SyncDir, "")
	}
	return nil
}

// Lock implements durable.Dir.
func (d *Disk) Lock() (io.Closer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.locked {
		return nil, durable.ErrLocked
	}
	d.locked = true
	return unlock{d}, nil
}

type unlock struct{ d *Disk }

func (u unlock) Close() error {
	u.d.mu.Lock()
	defer u.d.mu.Unlock()
	u.d.locked = false
	return nil
}
