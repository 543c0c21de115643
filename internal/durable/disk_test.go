package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/internal/durabletest"
)

// The real directory and the one in memory keep the same promises.
func TestDirsKeepTheirPromises(t *testing.T) {
	disk, err := durable.Disk(filepath.Join(t.TempDir(), "made"))
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range map[string]durable.Dir{"disk": disk, "memory": durabletest.New()} {
		t.Run(name, func(t *testing.T) {
			lock, err := d.Lock()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.Lock(); !errors.Is(err, durable.ErrLocked) {
				t.Errorf("locked twice: %v", err)
			}
			f, err := d.Create("b")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.Create("b"); !errors.Is(err, fs.ErrExist) {
				t.Errorf("made twice: %v", err)
			}
			if _, err := f.WriteAt([]byte("hello"), 3); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(f.Reserve(4096), f.Truncate(6), f.Sync(), f.Close(), d.Sync()); err != nil {
				t.Fatal(err)
			}
			if b, err := d.ReadFile("b"); err != nil || string(b) != "\x00\x00\x00hel" {
				t.Errorf("%q, %v", b, err)
			}
			for _, content := range []string{"first", "second"} {
				if err := d.Replace("a", []byte(content)); err != nil {
					t.Fatal(err)
				}
				if b, err := d.ReadFile("a"); err != nil || string(b) != content {
					t.Errorf("%q, %v", b, err)
				}
			}
			names, err := d.List()
			names = slices.DeleteFunc(names, func(n string) bool { return n == "lock" })
			if err != nil || !slices.Equal(names, []string{"a", "b"}) {
				t.Errorf("%q, %v", names, err)
			}
			if err := d.Remove("a"); err != nil {
				t.Fatal(err)
			}
			for _, err := range []error{d.Remove("a"), second(d.ReadFile("a")), second(d.OpenRead("a")), second(d.Open("a"))} {
				if !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("what was removed: %v", err)
				}
			}
			if free, err := d.Free(); err != nil || free < 0 {
				t.Errorf("%d bytes free, %v", free, err)
			}
			if err := lock.Close(); err != nil {
				t.Fatal(err)
			}
			if lock, err = d.Lock(); err != nil {
				t.Fatal(err)
			}
			lock.Close()
		})
	}
}

func second[T any](_ T, err error) error { return err }

// A replacement that does not fit leaves the old content, and nothing that takes room.
func TestReplacementThatDoesNotFit(t *testing.T) {
	dir := durabletest.SmallDisk(t, "size=1m")
	name := filepath.Join(dir, "a")
	if err := durable.WriteFile(name, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(name, make([]byte, 2<<20), 0o600); !durable.IsFull(err) {
		t.Errorf("2 MiB on a disk of one: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if b, _ := os.ReadFile(name); err != nil || len(entries) != 1 || string(b) != "old" {
		t.Errorf("%v, %v, %q", entries, err, b)
	}
	disk, err := durable.Disk(dir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := disk.Create("b")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Reserve(2 << 20); !durable.IsFull(err) {
		t.Errorf("room for 2 MiB: %v", err)
	}
}
