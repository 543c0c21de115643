package sink_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/durabletest"
	"github.com/tollgate/tollgate/internal/ledgertest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/sink"
	"github.com/tollgate/tollgate/policy"
)

// A sink begins where its config says, once; after that where it stands.
func TestFrom(t *testing.T) {
	w := newWorld(t)
	w.write(10)
	receivers := map[string]receiver{}
	specs, want := []sink.Spec{}, map[string]int{}
	for name, tt := range map[string]struct {
		from sink.From
		want int
	}{
		"beginning": {sink.From{}, 15}, "now": {sink.From{Now: true}, 5},
		"past": {sink.From{Since: time.Now().Add(-time.Hour)}, 15}, "future": {sink.From{Since: time.Now().Add(time.Hour)}, 0},
	} {
		receivers[name] = kinds["webhook"](t)
		s := spec(receivers[name].opener)
		s.Name, s.From = name, tt.from
		specs, want[name] = append(specs, s), tt.want
	}
	s := w.begin(specs...)
	w.catchUp(s)
	w.write(5)
	w.catchUp(s)
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.catchUp(w.begin(specs...)) // each has begun already
	for name, r := range receivers {
		if got := len(r.ids()); got != want[name] {
			t.Errorf("%s: %d entries, want %d", name, got, want[name])
		}
	}
}

func TestFilter(t *testing.T) {
	w := newWorld(t)
	w.write(3)
	own := policy.Call{Action: policy.ServerDiscover, OnBehalf: "k", Principal: &policy.Principal{}}
	if err := w.ledger.Deny(&own, &policy.Decision{}, "no"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.ledger.Record(t.Context(), ledger.Act{Action: "key.create", Status: ledger.OK}); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		filter sink.Filter
		want   int
	}{
		"all": {sink.Filter{Own: true}, 5}, "not own": {sink.Filter{}, 4},
		"denied": {sink.Filter{Kinds: []ledger.Kind{ledger.Denied}}, 3}, "admin": {sink.Filter{Kinds: []ledger.Kind{ledger.Admin}, Own: true}, 1},
		"posted": {sink.Filter{Kinds: []ledger.Kind{ledger.Posted}}, 0},
	} {
		r := kinds["webhook"](t)
		s := spec(r.opener)
		s.Name, s.Filter = strings.ReplaceAll(name, " ", "-"), tt.filter
		set := w.begin(s)
		w.catchUp(set)
		if got := len(r.ids()); got != tt.want || set.List()[0].LagEntries != 0 {
			t.Errorf("%s: %d entries, want %d; %+v", name, got, tt.want, set.List())
		}
	}
}

// A reload leaves a sink alone that did not change, gives one that did its place, and forgets none that is gone.
func TestApply(t *testing.T) {
	w := newWorld(t)
	first, second := kinds["webhook"](t), kinds["otlp"](t)
	a, b := spec(first.opener), spec(second.opener)
	s := w.begin(a)
	w.write(5)
	w.catchUp(s)
	s.Apply([]sink.Spec{a})
	s.Apply([]sink.Spec{b}) // of the same name
	w.write(7)
	w.catchUp(s)
	s.Apply(nil)
	w.write(2)
	if len(s.List()) != 0 {
		t.Errorf("%+v", s.List())
	}
	s.Apply([]sink.Spec{b})
	w.catchUp(s)
	if got := len(first.ids()); got != 5 {
		t.Errorf("the first receiver has %d entries, want 5", got)
	}
	want := w.ids()[5:]
	if got := second.ids(); !slices.Equal(got, want) {
		t.Errorf("the second receiver has %d entries, want %d", len(got), len(want))
	}
}

func TestRewind(t *testing.T) {
	w := newWorld(t)
	r := kinds["webhook"](t)
	s := w.begin(spec(r.opener))
	w.write(5)
	w.catchUp(s)
	entries := ledgertest.Entries(t, w.ledger)
	if err := s.Rewind("siem", entries[0].Time); err != nil {
		t.Fatal(err)
	}
	w.catchUp(s)
	if got := len(r.ids()); got != 10 {
		t.Errorf("%d entries, want each twice", got)
	}
	if err := s.Rewind("other", time.Now()); err == nil || !strings.Contains(err.Error(), `no sink "other"`) {
		t.Errorf("%v", err)
	}
	if err := s.Rewind("siem", time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	w.catchUp(s)
	if got, lag := len(r.ids()), s.List()[0].LagEntries; got != 10 || lag != 0 {
		t.Errorf("%d entries, lag %d", got, lag)
	}
}

// What a sink has not read is not removed, unless it is no longer configured: then it goes on with what there is.
func TestRetention(t *testing.T) {
	w := &world{t: t, ledger: ledgertest.Open(t, ledger.Config{SegmentBytes: 2 << 10}), cursors: durabletest.New(), log: newWorld(t).log}
	r := kinds["webhook"](t)
	s := w.begin(spec(r.opener))
	w.write(10)
	w.catchUp(s)
	r.refuse(func(string) bool { return true }) // it takes nothing now
	w.write(50)
	trim := func() (gone bool) {
		t.Helper()
		at, err := w.ledger.Trim(t.Context(), time.Nanosecond)
		if err != nil {
			t.Fatal(err)
		}
		return at.Segment > 2
	}
	if trim() {
		t.Fatal("entries were removed that the sink has not sent")
	}
	s.Apply(nil)
	if !trim() {
		t.Fatal("a sink that is not configured holds entries")
	}
	r.refuse(nil)
	s.Apply([]sink.Spec{spec(r.opener)})
	w.catchUp(s)
	if got := len(r.ids()); got <= 10 || got >= 61 {
		t.Errorf("%d entries", got)
	}
}

// A cursor that cannot be read stops its sink, says so, and is read again; other sinks go on.
func TestCursorThatCannotBeRead(t *testing.T) {
	w := newWorld(t)
	if err := w.cursors.Replace("siem.json", []byte(`{"position`)); err != nil {
		t.Fatal(err)
	}
	r := kinds["webhook"](t)
	s := w.begin(spec(r.opener))
	w.write(3)
	if got := s.List()[0]; got.State != sink.Failing || !strings.Contains(got.Error, "siem.json") {
		t.Errorf("%+v", got)
	}
	if err := w.cursors.Replace("siem.json", []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	w.catchUp(s)
	w.has(r, true)
}
