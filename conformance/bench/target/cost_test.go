package target

import (
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	line := "4242 (a (strange) name) S 1 4200 4200 0 -1 4194560 2503 0 0 0 150 25 0 0 20 0 9 0 12345 1270718464 2731 18446744073709551615 1 1 0"
	s, ok := parseStat([]byte(line))
	if want := (stat{group: 4200, cpu: 1750 * time.Millisecond, pages: 2731}); !ok || s != want {
		t.Errorf("got %+v %v, want %+v", s, ok, want)
	}
	for _, bad := range []string{"", "1 (x", "1 (x) S 1 2"} {
		if _, ok := parseStat([]byte(bad)); ok {
			t.Errorf("%q was read", bad)
		}
	}
}
