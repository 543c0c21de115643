package durable

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// dataSync forces data and length, not times: on a preallocated file this is one write to the disk instead of two.
func dataSync(f *os.File) error {
	return onDescriptor(f, "fdatasync", unix.Fdatasync)
}

func reserve(f *os.File, size int64) error {
	err := onDescriptor(f, "fallocate", func(fd int) error { return unix.Fallocate(fd, 0, 0, size) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}

// onDescriptor runs call on f's descriptor, which cannot be closed meanwhile, again when a signal interrupts it.
func onDescriptor(f *os.File, name string, call func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = conn.Control(func(fd uintptr) {
		for {
			if result = call(int(fd)); result != unix.EINTR {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	return os.NewSyscallError(name, result)
}
