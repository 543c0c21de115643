package durable

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// lockName is the file whose lock stands for the directory. It is never removed: removing a lock file while another
// process waits for it would let two in.
const lockName = "lock"

// Disk returns the directory at path, made with mode 0700 when it is missing.
func Disk(path string) (Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	return disk{path}, nil
}

type disk struct{ path string }

func (d disk) at(name string) string { return filepath.Join(d.path, name) }

func (d disk) Create(name string) (File, error) {
	return open(d.at(name), os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (d disk) Open(name string) (File, error) { return open(d.at(name), os.O_RDWR) }

func (d disk) OpenRead(name string) (File, error) { return open(d.at(name), os.O_RDONLY) }

func (d disk) List() ([]string, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func (d disk) ReadFile(name string) ([]byte, error) { return os.ReadFile(d.at(name)) }

func (d disk) Replace(name string, content []byte) error {
	return WriteFile(d.at(name), content, 0o600)
}

func (d disk) Remove(name string) error { return os.Remove(d.at(name)) }

func (d disk) Sync() error { return SyncDir(d.path) }

func (d disk) Free() (int64, error) { return free(d.path) }

func (d disk) Lock() (io.Closer, error) {
	f, err := os.OpenFile(d.at(lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", d.path, err)
	}
	return f, nil
}

// WriteFile replaces the file at path whole:
//
//	open(path.new) write fsync close rename(path.new, path) fsync(directory)
//
// A crash before the rename leaves the old content and perhaps a path.new, which the next call overwrites; an error
// leaves the old content alone, so that what did not fit takes no room.
func WriteFile(path string, content []byte, mode os.FileMode) error {
	temporary := path + ".new"
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes names in the directory at path durable: what was created, renamed or removed there.
func SyncDir(path string) error {
	if runtime.GOOS == "windows" { // has no such call: the file system journals names by itself
		return nil
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

type file struct{ *os.File }

func open(path string, flags int) (File, error) {
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

func (f file) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f file) Sync() error { return dataSync(f.File) }

func (f file) Reserve(size int64) error { return reserve(f.File, size) }
