//go:build linux || darwin || freebsd

package durable

import "golang.org/x/sys/unix"

// free counts what users other than root may take.
func free(path string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}
