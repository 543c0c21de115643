package file

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/ledger/sink"
	"github.com/tollgate/tollgate/ledger/sink/shape"
)

const (
	fileMode = 0o600
	dirMode  = 0o700
	// tailBytes is how much of a file's end is looked at at once for the last whole line.
	tailBytes = 64 << 10
	// namesMax bounds the search for a free name of a file that is moved aside.
	namesMax = 1000
)

// Config is where the lines go.
type Config struct {
	shape.Shape
	Path        string
	RotateBytes int64         // move the file aside beyond this size; 0: never
	RotateAge   time.Duration // and beyond this age; 0: never
	Gzip        bool          // compress what was moved aside
}

// Open opens the file, making it and its directory when they are missing.
func (c Config) Open(context.Context) (sink.Receiver, error) {
	r := &receiver{cfg: c}
	return r, r.open()
}

// receiver is the open file.
type receiver struct {
	cfg   Config
	file  *os.File
	size  int64
	begun time.Time
	text  []byte // of a batch
}

func (r *receiver) open() error {
	if err := os.MkdirAll(filepath.Dir(r.cfg.Path), dirMode); err != nil {
		return fmt.Errorf("open the sink's file: %w", err)
	}
	f, err := os.OpenFile(r.cfg.Path, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return fmt.Errorf("open the sink's file: %w", err)
	}
	if r.size, err = whole(f); err == nil {
		err = durable.SyncDir(filepath.Dir(r.cfg.Path))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("open the sink's file: %w", err), f.Close())
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	r.file, r.begun = f, time.Now()
	if r.size > 0 { // when it was begun is not kept; not later than its last change
		r.begun = info.ModTime()
	}
	return nil
}

// whole cuts off what follows the last whole line and returns the size that is left.
func whole(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	size := info.Size()
	buf := make([]byte, tailBytes)
	for end := size; end > 0; {
		start := max(end-tailBytes, 0)
		if _, err := f.ReadAt(buf[:end-start], start); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(buf[:end-start], '\n'); i >= 0 {
			end = start + int64(i) + 1
			if end == size {
				return size, nil
			}
			return end, f.Truncate(end)
		}
		end = start
	}
	return 0, f.Truncate(0)
}

// Send appends a batch and forces it to disk.
func (r *receiver) Send(_ context.Context, batch []sink.Line) error {
	if err := r.follow(); err != nil {
		return err
	}
	r.text = r.text[:0]
	for i := range batch {
		r.text = append(append(r.text, batch[i].Text...), '\n')
	}
	_, err := r.file.WriteAt(r.text, r.size)
	if err == nil {
		err = r.file.Sync()
	}
	if err != nil { // what is known of the file is its size before
		return errors.Join(fmt.Errorf("append to the sink's file: %w", err), r.Close())
	}
	r.size += int64(len(r.text))
	return nil
}

// follow has the file open that the path names, after what is due was moved aside.
func (r *receiver) follow() error {
	if r.file != nil {
		now, err := os.Stat(r.cfg.Path)
		was, err2 := r.file.Stat()
		if err != nil || err2 != nil || !os.SameFile(now, was) || now.Size() < r.size {
			if err := r.Close(); err != nil {
				return err
			}
		}
	}
	if r.file == nil {
		if err := r.open(); err != nil {
			return err
		}
	}
	due := r.cfg.RotateBytes > 0 && r.size >= r.cfg.RotateBytes || r.cfg.RotateAge > 0 && time.Since(r.begun) >= r.cfg.RotateAge
	if r.size == 0 || !due {
		return nil
	}
	if err := r.rotate(); err != nil {
		return fmt.Errorf("move the sink's file aside: %w", err)
	}
	return r.open()
}

// rotate moves the file aside. All of it is on disk and acknowledged.
func (r *receiver) rotate() error {
	if err := r.Close(); err != nil {
		return err
	}
	ext := filepath.Ext(r.cfg.Path)
	stem := strings.TrimSuffix(r.cfg.Path, ext) + "." + time.Now().UTC().Format("20060102T150405Z")
	for n := range namesMax {
		name := stem + ext
		if n > 0 {
			name = fmt.Sprintf("%s-%d%s", stem, n, ext)
		}
		if exists(name) || exists(name+".gz") {
			continue
		}
		if err := os.Rename(r.cfg.Path, name); err != nil {
			return err
		}
		if r.cfg.Gzip {
			return compress(name)
		}
		return durable.SyncDir(filepath.Dir(name))
	}
	return errors.New("no name is free")
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// compress replaces the file at path by path.gz. A crash leaves the one or the other, or both and path.gz.new.
func compress(path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	temporary := path + ".gz.new"
	out, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return err
	}
	z := gzip.NewWriter(out)
	_, err = io.Copy(z, in)
	if err = errors.Join(err, z.Close()); err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, path+".gz"); err != nil {
		return err
	}
	if err := durable.SyncDir(filepath.Dir(path)); err != nil {
		return err
	}
	return os.Remove(path)
}

// Close closes the file; Send opens it again.
func (r *receiver) Close() error {
	if r.file == nil {
		return nil
	}
	f := r.file
	r.file = nil
	return f.Close()
}
