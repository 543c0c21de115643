package journal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/internal/durabletest"
)

// Of every kind of damage what holds before it is kept and goes on, and what is given up lies beside, byte for byte.
func TestDamagedJournalIsSalvaged(t *testing.T) {
	for _, tt := range damages {
		t.Run(tt.what, func(t *testing.T) {
			disk := toDamage(t)
			if err := tt.damage(disk); err != nil {
				t.Fatal(err)
			}
			seen, err := Examine(disk)
			if err != nil || seen.Err == nil {
				t.Fatalf("%+v, %v", seen, err)
			}
			before := map[string][]byte{}
			for _, name := range seen.Segments {
				before[name], _ = disk.ReadFile(name)
			}
			d, err := Salvage(disk, forget)
			if err != nil || d.Last != seen.Last || !slices.Equal(d.Segments, seen.Segments) {
				t.Fatalf("%+v, %v; it was seen as %+v", d, err, seen)
			}
			for name, want := range before {
				if got, err := disk.ReadFile(name + damagedSuffix); err != nil || string(got) != string(want) {
					t.Errorf("%s is not kept: %v", name, err)
				}
			}
			goesOn(t, disk, len(d.Segments) > 0)
		})
	}
}

// goesOn starts a salvaged journal, and again after something was written.
func goesOn(t *testing.T, disk *durabletest.Disk, aside bool) {
	t.Helper()
	if _, err := Examine(disk); !errors.Is(err, ErrWhole) {
		t.Fatalf("after it was salvaged: %v", err)
	}
	if _, err := Salvage(disk, forget); !errors.Is(err, ErrWhole) {
		t.Fatalf("salvaged again: %v", err)
	}
	for range 2 { // a start that writes nothing leaves it to the next to tell of it
		j, rec, found := start(t, disk, Options{})
		for i, p := range found {
			if p != fmt.Sprintf("payload %02d", i+1) && !strings.HasPrefix(p, "forged") { // what is forged well holds up to the next frame
				t.Fatalf("payload %d is %q", i+1, p)
			}
		}
		if aside != (len(rec.Damaged) > 0) {
			t.Errorf("put aside: %q", rec.Damaged)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	j, _, found := start(t, disk, Options{})
	if _, err := put(j, "next"); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j, rec, again := start(t, disk.PowerLoss(never), Options{})
	if len(rec.Damaged) > 0 || !slices.Equal(again, append(found, "next")) {
		t.Errorf("after the next payload: %q, put aside %q", again, rec.Damaged)
	}
	j.Close()
}

// A salvage that breaks off at any operation can be done again, whatever the crash leaves.
func TestSalvageSurvivesACrashAtEveryPoint(t *testing.T) {
	for i, tt := range damages {
		if testing.Short() && i%4 > 0 {
			continue
		}
		for n, total := 1, 1; n <= total; n++ {
			for _, fault := range []durabletest.Fault{durabletest.Lost, durabletest.Half, durabletest.Kept} {
				disk := toDamage(t)
				if err := errors.Join(tt.damage(disk), disk.Sync()); err != nil {
					t.Fatal(err)
				}
				seen, err := Examine(disk)
				if err != nil {
					t.Fatal(err)
				}
				operations := 0
				disk.Break(func(durabletest.Op, string) durabletest.Fault {
					operations++
					switch {
					case operations == n:
						return fault
					case operations > n:
						return durabletest.Lost
					}
					return durabletest.None
				})
				_, failed := Salvage(disk, forget)
				disk.Break(nil)
				total = max(total, operations+1)
				for _, left := range []*durabletest.Disk{disk.Kill(), disk.PowerLoss(never), disk.PowerLoss(func() bool { return true })} {
					d, err := Salvage(left, forget)
					if err != nil && !errors.Is(err, ErrWhole) {
						t.Fatalf("%s, %d fails %d (%v): salvaged again: %v", tt.what, n, fault, failed, err)
					}
					if err == nil && d.Last != seen.Last {
						t.Fatalf("%s, %d fails %d: it holds up to %+v, then up to %+v", tt.what, n, fault, seen.Last, d.Last)
					}
					goesOn(t, left, true)
					if t.Failed() {
						t.Fatalf("%s, %d fails %d", tt.what, n, fault)
					}
				}
			}
		}
	}
}

func TestWholeJournalIsNotSalvaged(t *testing.T) {
	disk := toDamage(t)
	before := content(t, disk)
	if _, err := Salvage(disk, forget); !errors.Is(err, ErrWhole) {
		t.Error(err)
	}
	if err := flip(4, frameAt(2)+frameBytes)(disk); err != nil { // the last frame: a torn tail, as far as one can tell
		t.Fatal(err)
	}
	if _, err := Salvage(disk, forget); !errors.Is(err, ErrWhole) {
		t.Error(err)
	}
	if err := flip(4, frameAt(2)+frameBytes)(disk); err != nil {
		t.Fatal(err)
	}
	if content(t, disk) != before {
		t.Error("it was changed")
	}
	if err := disk.Replace(trimmedName, []byte("nonsense")); err != nil {
		t.Fatal(err)
	}
	var torn *TornError
	if _, err := Salvage(disk, forget); !errors.As(err, &torn) || torn.Segment != trimmedName {
		t.Errorf("without its beginning: %v", err)
	}
}

func forget() error { return nil }
