//go:build !linux

package durabletest

import "testing"

// SmallDisk skips the test: it mounts on Linux only.
func SmallDisk(t *testing.T, _ string) string {
	t.Helper()
	t.Skip("SKIPPED: a full disk is tried on a memory model only, for a small file system is mounted on Linux only")
	return ""
}
