package evidence

import (
	"bytes"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
)

func TestRecordsComeBackInOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	log, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				n := log.Next()
				if err := log.Add(Request{Seq: n, Nonce: "n", Arrived: n}); err != nil {
					t.Error(err)
				}
				if err := log.Add(Request{Of: n, Ended: n + 1, Answer: Whole, Input: 3, Output: 4}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	lines, err := Read[Request](path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Requests(lines)
	if err != nil || len(lines) != 800 || len(got) != 400 {
		t.Fatalf("%d lines, %d requests, %v", len(lines), len(got), err)
	}
	for _, r := range got {
		if want := (Request{Seq: r.Seq, Nonce: "n", Arrived: r.Seq, Ended: r.Seq + 1, Answer: Whole, Input: 3, Output: 4}); !reflect.DeepEqual(r, want) {
			t.Errorf("got %+v, want %+v", r, want)
		}
	}
	if _, err := Create(path); err == nil {
		t.Error("a log was made over another one")
	}
}

func TestARequestEndsOnce(t *testing.T) {
	for _, lines := range [][]Request{
		{{Of: 1, Ended: 5}},
		{{Seq: 1}, {Of: 1, Ended: 5}, {Of: 1, Ended: 6}},
	} {
		if _, err := Requests(lines); err == nil {
			t.Errorf("%+v was taken", lines)
		}
	}
	if got, err := Requests([]Request{{Seq: 1}}); err != nil || len(got) != 1 || got[0].Ended != 0 {
		t.Errorf("a request under way: %+v, %v", got, err)
	}
}

func TestALineThatIsNoneIsTold(t *testing.T) {
	_, err := Scan[Call](strings.NewReader("{}\nno JSON\n"))
	if err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("got %v", err)
	}
}

func TestWhatCannotBeWrittenIsTold(t *testing.T) {
	log, err := Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	if err := log.file.Close(); err != nil {
		t.Fatal(err)
	}
	if log.Add(Call{}) == nil || log.Close() == nil {
		t.Error("a record that was not written is not missed")
	}
}

func FuzzScan(f *testing.F) {
	f.Add([]byte(`{"seq":1,"arrived":2}` + "\n" + `{"of":1,"ended":3}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		lines, err := Scan[Request](bytes.NewReader(b))
		if err != nil {
			return
		}
		got, err := Requests(lines)
		if err == nil && len(got) > len(lines) {
			t.Errorf("%d requests of %d lines", len(got), len(lines))
		}
	})
}
