package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// DiskBytes is the size of a replica's disk: room for the journal and the index of a run, few enough bytes to fill.
const DiskBytes = 1 << 30

// ErrNoDisk means that disks of their own cannot be made here: it takes root and loop devices.
var ErrNoDisk = errors.New("no file system can be mounted here")

// Disk is a file system of a replica's own, an ext4 in a file, that can be filled and frozen without harm to others.
type Disk struct{ dir string }

// NewDisk makes and mounts a disk at dir.
func NewDisk(ctx context.Context, dir string) (*Disk, error) {
	image := dir + ".img"
	if os.Geteuid() != 0 {
		return nil, ErrNoDisk
	}
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(image, nil, 0o600), os.Truncate(image, DiskBytes)); err != nil {
		return nil, err
	}
	for _, argv := range [][]string{{"mkfs.ext4", "-q", "-m", "0", image}, {"mount", "-o", "loop", image, dir}} {
		if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%w: %s: %w: %s", ErrNoDisk, argv[0], err, out)
		}
	}
	d := &Disk{dir}
	return d, d.makeData()
}

// Data is the directory on the disk for the gateway's data.
func (d *Disk) Data() string { return filepath.Join(d.dir, "data") }

func (d *Disk) makeData() error { return os.Mkdir(d.Data(), 0o700) }

func (d *Disk) filler() string { return filepath.Join(d.dir, "filler") }

// Fill takes all the space that is left.
func (d *Disk) Fill() error {
	f, err := os.Create(d.filler())
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // nothing was written through it
	var size int64
	for step := int64(64 << 20); step >= 4<<10; {
		switch err := unix.Fallocate(int(f.Fd()), 0, size, step); {
		case err == nil:
			size += step
		case errors.Is(err, syscall.ENOSPC):
			step /= 2
		default:
			return fmt.Errorf("filling a disk: %w", err)
		}
	}
	return nil
}

// Empty gives the space back.
func (d *Disk) Empty() error { return os.Remove(d.filler()) }

// freeze and thaw are FIFREEZE and FITHAW of linux/fs.h.
const (
	freeze = 0xc0045877
	thaw   = 0xc0045878
)

// Hang has every write to the disk wait for that long.
func (d *Disk) Hang(ctx context.Context, span time.Duration) error {
	f, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only a handle
	if err := unix.IoctlSetInt(int(f.Fd()), freeze, 0); err != nil {
		return fmt.Errorf("freezing a file system: %w", err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(span):
	}
	if err := unix.IoctlSetInt(int(f.Fd()), thaw, 0); err != nil {
		return fmt.Errorf("thawing a file system: %w", err)
	}
	return nil
}

// Close takes the disk away; what was on it goes with it.
func (d *Disk) Close() error {
	if err := unix.Unmount(d.dir, 0); err != nil {
		return fmt.Errorf("unmounting %s: %w", d.dir, err)
	}
	return os.Remove(d.dir + ".img")
}
