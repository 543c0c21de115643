package durabletest

import (
	"testing"

	"golang.org/x/sys/unix"
)

// SmallDisk mounts a real file system for the test, with options such as size=24m, and returns its directory. Where the test may not
// mount, it is skipped, and says so.
func SmallDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		t.Skipf("SKIPPED: a full disk is tried on a memory model only, for this user may not mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}
