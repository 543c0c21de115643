package replay

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// add adds an event that consists of its id.
func add[T any](s *Stream[T]) string {
	id := string(s.ID())
	s.Add([]byte(id))
	return id
}

func texts(events [][]byte) string { return string(bytes.Join(events, []byte(" "))) }

func TestResume(t *testing.T) {
	var store Store
	l := NewLog[string](&store)
	defer l.Close()
	a, b := l.Open(Call, "a"), l.Open(Session, "b")
	for range 3 {
		add(a)
		add(b)
	}
	tests := []struct{ id, of, events string }{
		{"c1-0", "a", "c1-1 c1-2"}, {"c1-1", "a", "c1-2"}, {"c1-2", "a", ""}, {"s2-0", "b", "s2-1 s2-2"},
	}
	for _, tt := range tests {
		s, _, n, ok := l.Find(tt.id)
		if !ok || s == nil || s.Of != tt.of {
			t.Fatalf("%s is not found", tt.id)
		}
		if events, whole, last := s.After(n); texts(events) != tt.events || !whole || last {
			t.Errorf("after %s: %s, whole %v, last %v", tt.id, texts(events), whole, last)
		}
	}
	for _, id := range []string{"", "c1", "c1-", "c1-3", "s1-0", "c2-0", "x1-0", "c01-0", "c1-00", "c+1-0", "c1-0 ", "c-1-0", "c1-18446744073709551616", "c" + strings.Repeat("9", 50) + "-1"} {
		if s, _, _, ok := l.Find(id); ok {
			t.Errorf("%q is found: %+v", id, s)
		}
	}
	if s, kind, _, ok := l.Find("c9-1"); s != nil || kind != Call || !ok {
		t.Error("an id of a stream that is gone is one")
	}
	a.Close()
	if _, _, last := a.After(2); !last {
		t.Error("who has seen the last event has not seen it")
	}
	b.Close()
	if _, whole, last := b.After(0); !whole || !last {
		t.Error("the last event is kept and not found")
	}
}

// TestBounds holds that the oldest is dropped first, that what is dropped is said to be, and that all memory comes back.
func TestBounds(t *testing.T) {
	var store Store
	l := NewLog[int](&store)
	old, s := l.Open(Call, 1), l.Open(Call, 2)
	add(old)
	add(old)
	old.Close()
	for range eventsMax + 2 {
		add(s)
	}
	if found, _, _, ok := l.Find("c1-0"); found != nil || !ok {
		t.Error("a closed stream of which nothing is kept is there")
	}
	events, whole, _ := s.After(0)
	if len(events) != eventsMax || whole {
		t.Errorf("%d events kept, whole %v", len(events), whole)
	}
	if _, whole, _ := s.After(1); !whole {
		t.Error("nothing is missing behind the first that was dropped")
	}
	s.Add(make([]byte, logBytesMax))
	if events, _, _ := s.After(0); len(events) != 1 || len(l.kept) != 1 {
		t.Errorf("%d events beside one that fills the log", len(events))
	}
	s.Add(make([]byte, logBytesMax+1))
	s.Close()
	if events, whole, last := s.After(s.next - 2); len(events) != 0 || whole || last {
		t.Errorf("an event larger than the log: %d events, whole %v, last %v", len(events), whole, last)
	}
	l.Close()
	if left := store.bytes.Load(); left != 0 || l.bytes != 0 {
		t.Errorf("%d bytes of the store are lost", left)
	}
	late := l.Open(Call, 3)
	add(late)
	add(late)
	if store.bytes.Load() != 0 {
		t.Error("a closed log keeps")
	}
}

// TestStoreBound holds that one log cannot take the memory of all: it keeps nothing rather than more.
func TestStoreBound(t *testing.T) {
	var store Store
	store.bytes.Store(storeBytesMax - 5)
	l := NewLog[int](&store)
	s := l.Open(Call, 1)
	add(s)
	add(s) // 4 bytes
	add(s)
	if events, whole, _ := s.After(0); texts(events) != "c1-1" || whole {
		t.Errorf("kept %s, whole %v", texts(events), whole)
	}
	l.Close()
	if left := store.bytes.Load(); left != storeBytesMax-5 {
		t.Errorf("%d bytes taken in the end", left)
	}
}

func TestAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var store Store
		l := NewLog[int](&store)
		s := l.Open(Call, 1)
		add(s)
		add(s)
		time.Sleep(Age / 2)
		add(s)
		time.Sleep(Age/2 + time.Second)
		if events, _, _ := s.After(0); texts(events) != "c1-2" {
			t.Errorf("kept %s", texts(events))
		}
		time.Sleep(Age / 2)
		if events, _, _ := s.After(0); events != nil || l.expiry != nil || store.bytes.Load() != 0 {
			t.Errorf("kept %s for ever", texts(events))
		}
		add(s)
		if events, _, _ := s.After(2); texts(events) != "c1-3" {
			t.Errorf("kept %s after a pause", texts(events))
		}
		l.Close()
	})
}

// FuzzFind holds that an id is read in one way only.
func FuzzFind(f *testing.F) {
	f.Add("c1-0")
	f.Add("s18446744073709551615-3")
	f.Fuzz(func(t *testing.T, id string) {
		var store Store
		l := NewLog[int](&store)
		add(l.Open(Call, 1))
		kind, stream, n, ok := parse(id)
		if ok && fmt.Sprintf("%c%d-%d", kind, stream, n) != id {
			t.Fatalf("%q is read as %c %d %d", id, kind, stream, n)
		}
		if s, _, _, found := l.Find(id); found && !ok || s != nil && id != "c1-0" {
			t.Fatalf("%q is found", id)
		}
	})
}

// BenchmarkAdd is what keeping costs an event of 200 bytes.
func BenchmarkAdd(b *testing.B) {
	var store Store
	l := NewLog[int](&store)
	defer l.Close()
	s := l.Open(Call, 1)
	event := make([]byte, 200)
	b.ReportAllocs()
	for b.Loop() {
		s.Add(event)
	}
}
