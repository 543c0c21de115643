package fleet

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// envClock names the file that a process built by BuildShifted reads its clock's error from.
const envClock = "CHAOS_CLOCK"

// shifted is added to package time of the binary under test. It is the only difference to the released one: Go binaries
// are static and read the clock without libc, so nothing can be preloaded, and the kernel's time namespaces leave the wall
// clock alone.
const shifted = `package time

import (
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

var shift struct {
	once sync.Once
	at   *int64
}

// shifted moves the wall clock by the nanoseconds that stand in the file $` + envClock + ` now.
func shifted(sec int64, nsec int32, mono int64) (int64, int32, int64) {
	shift.once.Do(func() {
		path, ok := syscall.Getenv("` + envClock + `")
		if !ok {
			return
		}
		fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			panic("the file of the clock's error cannot be read: " + err.Error())
		}
		b, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
		if err != nil {
			panic("the file of the clock's error cannot be mapped: " + err.Error())
		}
		shift.at = (*int64)(unsafe.Pointer(&b[0]))
	})
	if shift.at == nil {
		return sec, nsec, mono
	}
	by := int64(nsec) + atomic.LoadInt64(shift.at)
	sec += by / 1e9
	if by %= 1e9; by < 0 {
		by += 1e9
		sec--
	}
	return sec, int32(by), mono
}
`

// BuildShifted builds the command pkg of the module at root into dir, with a wall clock that a Clock moves while it runs,
// and returns the binary's path. Package time is replaced by its own source with one call more, by the compiler's -overlay.
func BuildShifted(ctx context.Context, root, pkg, dir string) (string, error) {
	overlay, err := writeOverlay(ctx, dir)
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "shifted")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-overlay", overlay, "-o", binary, pkg)
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s with a clock that can be moved: %w\n%s", pkg, err, out)
	}
	return binary, nil
}

// writeOverlay writes what replaces package time into dir, and returns the path of the list of it.
func writeOverlay(ctx context.Context, dir string) (string, error) {
	goroot, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("asking for GOROOT: %w", err)
	}
	source := filepath.Join(strings.TrimSpace(string(goroot)), "src", "time")
	text, err := os.ReadFile(filepath.Join(source, "time.go"))
	if err != nil {
		return "", err
	}
	const before, after = "sec, nsec, mono := runtimeNow()", "sec, nsec, mono := shifted(runtimeNow())"
	if !bytes.Contains(text, []byte(before)) {
		return "", errors.New("package time does not read its clock as it did: the overlay must follow")
	}
	// The build caches by content, not by place; so the same overlay in another directory costs nothing.
	list, err := json.Marshal(struct{ Replace map[string]string }{map[string]string{
		filepath.Join(source, "time.go"):    filepath.Join(dir, "time.go"),
		filepath.Join(source, "shifted.go"): filepath.Join(dir, "shifted.go"),
	}})
	if err != nil {
		return "", err
	}
	for name, content := range map[string][]byte{
		"time.go": bytes.ReplaceAll(text, []byte(before), []byte(after)), "shifted.go": []byte(shifted), "overlay.json": list,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return "", err
		}
	}
	return filepath.Join(dir, "overlay.json"), nil
}

// Clock is the error of one replica's wall clock.
type Clock struct{ path string }

// NewClock makes a clock without error, kept in the file at path.
func NewClock(path string) (*Clock, error) {
	c := &Clock{path}
	return c, os.WriteFile(path, make([]byte, 8), 0o644)
}

// Set moves the clock: it now runs ahead of the machine's by that much, at once and in a running process.
func (c *Clock) Set(ahead time.Duration) error {
	f, err := os.OpenFile(c.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], uint64(ahead))
	_, err = f.WriteAt(b[:], 0)
	return errors.Join(err, f.Close())
}

// Env has a process read the clock.
func (c *Clock) Env() string { return envClock + "=" + c.path }
