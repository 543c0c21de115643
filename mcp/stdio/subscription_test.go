//go:build unix

package stdio_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/upstreamtest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

// subscribe watches what method and name say for p, as the gateway does.
func subscribe(t *testing.T, f *upstreamtest.Fixture, p *policy.Principal, method, name string) (heard chan string, stop func(), a *upstream.Answer) {
	t.Helper()
	heard = make(chan string, 100)
	call := policy.Call{Principal: p, Action: policy.ResourceSubscribe, Upstream: "tracker", Target: name,
		Tool: &policy.Tool{Server: "tracker", Name: name, Kind: "resource"}}
	err := f.Gate.Do(t.Context(), call, ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) error {
		var err error
		x := &upstream.Exchange{Permit: permit, Method: method, Name: name, Era: upstream.Modern, Version: "2026-07-28"}
		stop, a, err = f.Subscribe(ctx, x, func(params []byte) { heard <- string(params) })
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return heard, stop, a
}

// listens is how many subscriptions the shared child has.
func listens(t *testing.T, f *upstreamtest.Fixture) int {
	t.Helper()
	var got struct{ Listens int }
	if err := json.Unmarshal(f.Answer(t, upstreamtest.Tool("state", "{}")).Result, &got); err != nil {
		t.Fatal(err)
	}
	return got.Listens
}

func TestModernChildTellsOfResourcesAndTasks(t *testing.T) {
	upstreamtest.NoLeaks(t)
	f, _ := stdioFixture(t, "modern")
	alices, stopAlice, a := subscribe(t, f, upstreamtest.Alice, "resources/subscribe", "test://a")
	bobs, stopBob, b := subscribe(t, f, bob, "resources/subscribe", "test://a")
	others, stopOther, c := subscribe(t, f, bob, "resources/subscribe", "test://b")
	tasks, stopTask, d := subscribe(t, f, upstreamtest.Alice, upstream.TasksGet, "task-1")
	if a != nil || b != nil || c != nil || d != nil {
		t.Fatal("a subscription is refused")
	}
	touch := func() { f.Answer(t, upstreamtest.Tool("touch", `{"uri":"test://a","n":12345678901234567890}`)) }
	touch()
	for _, heard := range []chan string{alices, bobs} {
		if got := <-heard; got != `{"uri":"test://a","n":12345678901234567890}` {
			t.Error(got)
		}
	}
	if got := <-tasks; got != `{"taskId":"task-1"}` {
		t.Error(got)
	}
	stopAlice()
	stopAlice()
	for listens(t, f) != 4 { // the lists' own and three more
	}
	touch()
	<-bobs
	<-tasks
	stopBob()
	stopOther()
	stopTask()
	for listens(t, f) != 1 {
	}
	touch()
	if len(alices)+len(bobs)+len(others)+len(tasks) != 0 {
		t.Error("somebody was told what is not theirs, or after the end")
	}
}

func TestModernChildWithoutASubscription(t *testing.T) {
	f, _ := stdioFixture(t, "modern")
	_, stop, a := subscribe(t, f, upstreamtest.Alice, "resources/subscribe", "other://a")
	if stop != nil || a == nil || a.Error.Code != -32601 {
		t.Fatalf("%v %+v", stop != nil, a)
	}
	for listens(t, f) != 1 { // it is told that nobody listens
	}
	f, _ = stdioFixture(t, "full")
	if _, stop, a = subscribe(t, f, upstreamtest.Alice, upstream.TasksGet, "task-1"); stop != nil || a == nil || a.Error.Code != -32601 {
		t.Fatalf("a legacy server tells of tasks: %+v", a)
	}
}

func TestSubscriptionsOutliveAModernChild(t *testing.T) {
	f, _ := stdioFixture(t, "modern")
	heard, stop, _ := subscribe(t, f, upstreamtest.Alice, "resources/subscribe", "test://a")
	defer stop()
	f.Answer(t, upstreamtest.Tool("die", "{}"))
	if got := <-heard; got != `{"uri":"test://a"}` { // what it told meanwhile is lost
		t.Error(got)
	}
	f.Answer(t, upstreamtest.Tool("touch", `{"uri":"test://a","again":true}`))
	if got := <-heard; got != `{"uri":"test://a","again":true}` {
		t.Error(got)
	}
}

func TestModernChildTellsOfChangedLists(t *testing.T) {
	f, _ := stdioFixture(t, "modern")
	for listens(t, f) == 0 {
	}
	f.Answer(t, upstreamtest.Tool("change", "{}"))
	if got := <-f.Changed; got != upstream.ToolsChanged {
		t.Error(got)
	}
}
