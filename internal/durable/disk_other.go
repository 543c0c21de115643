//go:build !linux

package durable

import "os"

func dataSync(f *os.File) error { return f.Sync() }

func reserve(*os.File, int64) error { return nil }
