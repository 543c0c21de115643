package durable

import (
	"errors"
	"io"
)

// File is a file written at known offsets by one writer. ReadAt may be called while others write; all other methods are
// the writer's, except Sync, which may run beside WriteAt.
type File interface {
	io.ReaderAt
	io.WriterAt

	// Sync returns nil once everything written before the call is on stable storage. After an error nothing is known of
	// what was written since the last success, not even that a later Sync would cover it: write it again first.
	Sync() error

	// Reserve makes room for size bytes so that writes below it neither run out of space nor change the file's length.
	// It is about speed and early errors: on a file system that cannot do it, it does nothing.
	Reserve(size int64) error

	Truncate(size int64) error
	Size() (int64, error)
	Close() error
}

// Dir is a directory of such files. Names are plain file names. All methods are safe for concurrent use.
type Dir interface {
	// Create makes a new file and fails with fs.ErrExist when there is one. The name is durable once Sync has returned.
	Create(name string) (File, error)
	// Open opens a file for reading and writing; fs.ErrNotExist when there is none.
	Open(name string) (File, error)
	// OpenRead opens a file for reading only.
	OpenRead(name string) (File, error)
	// List returns the names in the directory, sorted.
	List() ([]string, error)
	// Replace writes a small file whole: after a crash the old or the new content is there, never a part.
	Replace(name string, content []byte) error
	// ReadFile reads a small file.
	ReadFile(name string) ([]byte, error)
	// Remove removes a file; fs.ErrNotExist when there is none. It is durable once Sync has returned.
	Remove(name string) error
	// Sync makes created and removed names durable.
	Sync() error
	// Free is how many bytes can still be written to the disk; errors.ErrUnsupported where the system does not say.
	Free() (int64, error)
	// Lock takes the directory for this process until the Closer is closed or the process dies. ErrLocked: another has it.
	Lock() (io.Closer, error)
}

// ErrFull means that the disk has no room left, or that this user may take no more of it.
var ErrFull = errors.New("no room is left on the disk")

// IsFull reports whether err is ErrFull or what the system says in its place.
func IsFull(err error) bool { return errors.Is(err, ErrFull) || isFull(err) }

// ErrLocked means another process holds the directory.
var ErrLocked = errors.New("the directory is in use by another process")
