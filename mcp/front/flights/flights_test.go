package flights

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestSet(t *testing.T) {
	var s Set
	var said []string
	say := func(what string) func() { return func() { said = append(said, what) } }
	if !s.Idle() {
		t.Error("not idle from the beginning")
	}
	for i := range Max {
		f := Flight{Cancel: say(fmt.Sprint("cancel ", i))}
		if i == 1 {
			f.End = say("end 1")
		}
		if err := s.Enter(fmt.Append(nil, i), f); err != nil {
			t.Fatal(i, err)
		}
	}
	for id, want := range map[string]string{"1": "still running", "x": "too many"} {
		if err := s.Enter([]byte(id), Flight{}); err == nil || !strings.Contains(err.Message, want) {
			t.Errorf("%s enters: %v", id, err)
		}
	}
	s.Cancel([]byte("7"))
	s.Cancel([]byte("x"))
	s.Leave([]byte("7"))
	s.Cancel([]byte("7"))
	s.EndStreams()
	if want := []string{"cancel 7", "end 1"}; !slices.Equal(said, want) {
		t.Errorf("%q, want %q", said, want)
	}
	if err := s.Enter([]byte("7"), Flight{}); err != nil {
		t.Errorf("a place that was left is not free: %v", err)
	}
	if s.Idle() {
		t.Error("idle")
	}
}
