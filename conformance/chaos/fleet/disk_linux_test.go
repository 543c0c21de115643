package fleet

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestADiskFillsAndHangs(t *testing.T) {
	d, err := NewDisk(t.Context(), filepath.Join(t.TempDir(), "disk"))
	if errors.Is(err, ErrNoDisk) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	file := filepath.Join(d.Data(), "file")
	if err := d.Fill(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, make([]byte, 1<<16), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full disk takes a file: %v", err)
	}
	if err := d.Empty(); err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	hung := make(chan error, 1)
	const span = 200 * time.Millisecond
	began := time.Now()
	go func() { hung <- d.Hang(t.Context(), span) }()
	go func() {
		var err error
		for err == nil && time.Since(began) < span {
			err = os.WriteFile(file, []byte("x"), 0o600)
		}
		wrote <- err
	}()
	if err := errors.Join(<-wrote, <-hung); err != nil {
		t.Error(err)
	}
	if time.Since(began) < span {
		t.Error("it did not hang")
	}
}
