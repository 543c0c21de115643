package fleet

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestTheDayEndsWhenItShould(t *testing.T) {
	for _, midnight := range []time.Time{
		time.Date(2026, 11, 24, 23, 59, 59, 0, time.UTC), time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC),
		time.Date(2026, 11, 25, 0, 0, 1, 0, time.UTC), time.Date(2026, 2, 28, 11, 30, 7, 0, time.UTC), time.Date(2026, 2, 28, 12, 30, 7, 0, time.UTC),
	} {
		z, err := NewZone(t.TempDir(), midnight)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(z.dir, "Chaos", "Midnight"))
		if err != nil {
			t.Fatal(err)
		}
		loc, err := time.LoadLocationFromTZData(z.Name(), b)
		if err != nil {
			t.Fatal(err)
		}
		if h, m, s := midnight.In(loc).Clock(); h != 0 || m != 0 || s != 0 {
			t.Errorf("%s is %02d:%02d:%02d there", midnight, h, m, s)
		}
		if _, offset := midnight.In(loc).Zone(); time.Duration(offset)*time.Second != z.Offset || z.Offset.Abs() > 12*time.Hour {
			t.Errorf("offset %d, said to be %s", offset, z.Offset)
		}
	}
}
