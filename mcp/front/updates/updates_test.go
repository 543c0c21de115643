package updates

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
)

// texts are updates in words.
func texts(all []Update) (out []string) {
	for _, u := range all {
		out = append(out, u.Method+" "+string(u.Params))
	}
	return out
}

// TestQueue holds that what waits is bounded and says nothing twice.
func TestQueue(t *testing.T) {
	q := NewQueue()
	for i := range 2 * waitingMax {
		q.Resource("x://dir", fmt.Appendf(nil, `{"uri":"x://dir/%d"}`, i))
	}
	q.Resource("x://dir", []byte(`{"uri":"x://dir/0"}`))
	<-q.Wake()
	all := q.Take()
	if len(all) != waitingMax+1 || string(all[waitingMax].Params) != `{"uri":"x://dir"}` {
		t.Errorf("%d wait, the last %s", len(all), all[len(all)-1].Params)
	}
	q.PutBack(slices.Clone(all[1:]))
	q.Resource("x://dir", []byte(`{"uri":"x://dir"}`))
	if again := q.Take(); !slices.Equal(texts(again), texts(all[1:])) {
		t.Errorf("%d were put back", len(again))
	}
	if q.Take() != nil {
		t.Error("taken twice")
	}
}

func TestQueueTasks(t *testing.T) {
	q := NewQueue()
	q.Task("a", []byte(`{"n":1}`))
	q.Task("b", []byte(`{"n":2}`))
	q.Resource("x://1", []byte(`{"uri":"x://1"}`))
	q.Task("a", []byte(`{"n":3}`))
	want := []string{`notifications/tasks {"n":2}`, `notifications/resources/updated {"uri":"x://1"}`, `notifications/tasks {"n":3}`}
	if got := texts(q.Take()); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// source subscribes, and counts what it is asked for.
type source struct{ made, stopped int }

func (s *source) subscribe() (func(), error) {
	s.made++
	return func() { s.stopped++ }, nil
}

func TestSet(t *testing.T) {
	var s Set
	var src source
	for range 2 {
		if err := s.Add(t.Context(), "x://1", src.subscribe); err != nil {
			t.Fatal(err)
		}
	}
	failed := errors.New("no")
	for range 2 { // a failure leaves nothing behind
		if err := s.Add(t.Context(), "x://2", func() (func(), error) { return nil, failed }); err != failed {
			t.Fatal(err)
		}
	}
	if src.made != 1 || !slices.Equal(s.URIs(), []string{"x://1"}) {
		t.Errorf("subscribed %d times to %q", src.made, s.URIs())
	}
	for range 2 {
		if err := s.Remove(t.Context(), "x://1"); err != nil || src.stopped != 1 {
			t.Errorf("stopped %d times: %v", src.stopped, err)
		}
	}
	for i := range Max {
		if err := s.Add(t.Context(), fmt.Sprint(i), src.subscribe); err != nil {
			t.Fatal(i, err)
		}
	}
	if err := s.Add(t.Context(), "more", src.subscribe); err != ErrFull {
		t.Error(err)
	}
	s.Close()
	if src.stopped != 1+Max {
		t.Errorf("%d stopped in the end", src.stopped)
	}
}

// TestSetMeanwhile holds what happens while a subscription is being made: others wait, and the end of the set is its end.
func TestSetMeanwhile(t *testing.T) {
	var s Set
	var src source
	made, begun, done := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		done <- s.Add(t.Context(), "x://1", func() (func(), error) {
			close(begun)
			<-made
			return src.subscribe()
		})
	}()
	<-begun
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Add(gone, "x://1", src.subscribe); err != context.Canceled {
		t.Error(err)
	}
	if err := s.Remove(gone, "x://1"); err != context.Canceled {
		t.Error(err)
	}
	s.Close()
	close(made)
	if err := <-done; err != nil || src.made != 1 || src.stopped != 1 {
		t.Errorf("%v, made %d, stopped %d", err, src.made, src.stopped)
	}
}
