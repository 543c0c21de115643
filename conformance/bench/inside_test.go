package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseInside(t *testing.T) {
	got := parseInside([]byte(`goos: linux
pkg: github.com/tollgate/tollgate/gate
BenchmarkDo-2            	  311204	      3804 ns/op	     702 B/op	       9 allocs/op
BenchmarkDo/48_KB-16     	   41204	   31804.5 ns/op	 1504.2 MB/s	     702 B/op	       9 allocs/op
PASS
ok  	github.com/tollgate/tollgate/gate	3.1s
pkg: github.com/tollgate/tollgate/policy
BenchmarkDecide          	  1	      12 ns/op
`))
	want := []inside{
		{"gate", "Do", 3804, 702, 9},
		{"gate", "Do/48_KB", 31804.5, 702, 9},
		{"policy", "Decide", 12, 0, 0},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(inside{})); diff != "" {
		t.Error(diff)
	}
}
