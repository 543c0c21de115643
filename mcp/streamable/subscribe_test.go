package streamable_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/mcptest"
	"github.com/tollgate/tollgate/internal/upstreamtest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

// subscribe watches uri for p, through the gate as the gateway does.
func subscribe(f *upstreamtest.Fixture, p *policy.Principal, uri string, updated func([]byte)) (stop func(), a *upstream.Answer, err error) {
	return subscribeIn(f, p, uri, updated, func(ctx context.Context) context.Context { return ctx })
}

// subscribeIn is subscribe in what in makes of the context.
func subscribeIn(f *upstreamtest.Fixture, p *policy.Principal, uri string, updated func([]byte), in func(context.Context) context.Context) (stop func(), a *upstream.Answer, err error) {
	call := policy.Call{Principal: p, Action: policy.ResourceSubscribe, Upstream: "tracker", Target: uri,
		Tool: &policy.Tool{Server: "tracker", Name: uri, Kind: "resource"}}
	err = f.Gate.Do(context.Background(), call, ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) error {
		var err error
		stop, a, err = f.Server.Subscribe(in(ctx), &upstream.Exchange{Permit: permit, Method: "resources/subscribe", Name: uri,
			Params: fmt.Appendf(nil, `{"uri":%q}`, uri), Era: upstream.Modern, Version: mcptest.Modern}, updated)
		if err == nil {
			permit.Done(ledger.OK, 0, "")
		}
		return err
	})
	return stop, a, err
}

// watch is subscribe for Alice; it must not fail. What is told comes on the channel.
func watch(t *testing.T, f *upstreamtest.Fixture, uri string) (told chan string, stop func()) {
	t.Helper()
	told = make(chan string, 100)
	stop, a, err := subscribe(f, upstreamtest.Alice, uri, func(params []byte) { told <- string(params) })
	if err != nil || a != nil {
		t.Fatal(a, err)
	}
	return told, stop
}

// until waits for the server's own view to be so; the test's deadline bounds it.
func until(s *mcptest.RawServer, want ...string) {
	for uris, _ := s.Watching(); !slices.Equal(uris, want); uris, _ = s.Watching() {
	}
}

func TestUpdatesReachWhoWatches(t *testing.T) {
	upstreamtest.NoLeaks(t)
	both(t, mcptest.Script{Watch: "test://", Streams: true}, func(t *testing.T, s *mcptest.RawServer) {
		f, _ := httpFixture(t, s.Server)
		one, stopOne := watch(t, f, "test://a")
		again, stopAgain := watch(t, f, "test://a")
		other, stopOther := watch(t, f, "test://b")
		until(s, "test://a", "test://b") // once each, and the stream that told of one alone has ended
		s.Update("test://a")
		for _, told := range []chan string{one, again} {
			if got := <-told; got != `{"uri":"test://a"}` {
				t.Errorf("told %s", got)
			}
		}
		s.Update("test://b")
		if got := <-other; got != `{"uri":"test://b"}` {
			t.Errorf("told %s", got)
		}
		stopOne()
		stopOne()
		s.Update("test://a")
		<-again
		stopAgain()
		until(s, "test://b")
		s.Update("test://b")
		<-other
		stopOther()
		until(s)
		if len(one)+len(again)+len(other) != 0 {
			t.Errorf("%d, %d and %d more were told", len(one), len(again), len(other))
		}
		last, stop := watch(t, f, "test://a")
		s.Update("test://a")
		<-last
		stop()
	})
}

func TestWatchersOfOnePrincipalShareNothingWithOthers(t *testing.T) {
	both(t, mcptest.Script{Watch: "test://", Streams: true}, func(t *testing.T, s *mcptest.RawServer) {
		f, _ := httpFixture(t, s.Server)
		_, stop := watch(t, f, "test://a")
		defer stop()
		stop, a, err := subscribe(f, &policy.Principal{Key: "bob", KeyID: "k2"}, "test://a", func([]byte) {})
		if err != nil || a != nil {
			t.Fatal(a, err)
		}
		defer stop()
		if uris, _ := s.Watching(); !slices.Equal(uris, []string{"test://a", "test://a"}) {
			t.Errorf("the server is asked for %v", uris)
		}
	})
}

func TestSubscriptionsThatAreNone(t *testing.T) {
	for _, c := range []struct {
		name   string
		script mcptest.Script
		uri    string
		code   int
	}{
		{"legacy without the capability", legacy(mcptest.Script{Sessions: true, Streams: true, Resources: []string{}}), "test://a", -32601},
		{"legacy without a stream to tell on", legacy(mcptest.Script{Sessions: true, Watch: "test://"}), "test://a", -32601},
		{"legacy: another resource", legacy(mcptest.Script{Sessions: true, Streams: true, Watch: "test://"}), "other://a", -32602},
		{"modern: not acknowledged", mcptest.Script{Watch: "test://"}, "other://a", -32601},
		{"modern: no such method", mcptest.Script{On: map[string]func(*mcptest.Request){"subscriptions/listen": func(q *mcptest.Request) {
			q.ErrorStatus(404, -32601, "Method not found", "")
		}}}, "test://a", -32601},
		{"modern: an error of its own", mcptest.Script{On: map[string]func(*mcptest.Request){"subscriptions/listen": func(q *mcptest.Request) {
			q.Error(-32000, "no", `{"n":12345678901234567890}`)
		}}}, "test://a", -32000},
	} {
		t.Run(c.name, func(t *testing.T) {
			upstreamtest.NoLeaks(t)
			s := mcptest.Raw(t, c.script)
			f, _ := httpFixture(t, s.Server)
			stop, a, err := subscribe(f, upstreamtest.Alice, c.uri, func([]byte) {})
			if err != nil || stop != nil || a == nil || a.Error == nil || a.Error.Code != c.code {
				t.Fatalf("%v, %+v, %v", stop != nil, a, err)
			}
			if c.code == -32000 && !strings.Contains(string(a.Error.Raw), "12345678901234567890") {
				t.Errorf("the error is not as it came: %s", a.Error.Raw)
			}
		})
	}
}

func TestOneResourceThatIsNotAcknowledgedHarmsNoOther(t *testing.T) {
	s := mcptest.Raw(t, mcptest.Script{Watch: "test://"})
	f, _ := httpFixture(t, s.Server)
	told, stop := watch(t, f, "test://a")
	defer stop()
	if _, a, err := subscribe(f, upstreamtest.Alice, "other://a", func([]byte) {}); err != nil || a.Error.Code != -32601 {
		t.Fatal(a, err)
	}
	until(s, "test://a")
	s.Update("test://a")
	<-told
}

func TestSubscriptionsOutliveTheirSession(t *testing.T) {
	for _, how := range []string{"forgotten", "cut"} {
		t.Run(how, func(t *testing.T) {
			both(t, mcptest.Script{Watch: "test://", Streams: true}, func(t *testing.T, s *mcptest.RawServer) {
				f, _ := httpFixture(t, s.Server)
				told, stop := watch(t, f, "test://a")
				if how == "forgotten" {
					s.Forget("")
				}
				s.CloseConnections()
				if got := <-told; got != `{"uri":"test://a"}` { // what it told meanwhile may be lost
					t.Errorf("told %s", got)
				}
				for s.Update("test://a") == 0 { // until the stream is there
				}
				<-told
				if n := f.Counts().Reconnects; n == 0 {
					t.Error("no reconnect is counted")
				}
				stop()
				until(s)
			})
		})
	}
}

// What a server has sent on a stream that is replaced comes on no other: it is read to its end.
func TestUpdateOnTheWayIsNotLost(t *testing.T) {
	s := mcptest.Raw(t, mcptest.Script{Watch: "test://"})
	f, _ := httpFixture(t, s.Server)
	told, goOn := make(chan string), make(chan struct{})
	stop, a, err := subscribe(f, upstreamtest.Alice, "test://a", func(params []byte) {
		told <- string(params)
		<-goOn
	})
	if err != nil || a != nil {
		t.Fatal(a, err)
	}
	defer stop()
	s.Update("test://a")
	<-told
	s.Update("test://a") // waits behind the first
	_, stopOther := watch(t, f, "test://b")
	defer stopOther()
	close(goOn)
	<-told
}

// A server that is told of the end of a subscription late has not yet been asked for the next.
func TestSubscribingAgainComesAfterTheEnd(t *testing.T) {
	var watching atomic.Bool
	s := mcptest.Raw(t, legacy(mcptest.Script{Watch: "test://", Streams: true, Sessions: true, On: map[string]func(*mcptest.Request){
		"resources/subscribe": func(q *mcptest.Request) {
			watching.Store(true)
			q.Result(`{}`)
		},
		"resources/unsubscribe": func(q *mcptest.Request) {
			for range 1000 {
				runtime.Gosched() // what can overtake it does
			}
			watching.Store(false)
			q.Result(`{}`)
		},
	}}))
	f, _ := httpFixture(t, s.Server)
	_, stop := watch(t, f, "test://a")
	for range 50 {
		stop()
		_, stop = watch(t, f, "test://a")
	}
	defer stop()
	if f.Close(t.Context()); !watching.Load() { // nothing is under way any more
		t.Error("the server does not know that somebody watches")
	}
}

// A caller who gives up waiting leaves alone who is about to watch the same.
func TestWhoGivesUpTakesNobodyAlong(t *testing.T) {
	for _, version := range []string{mcptest.Modern, mcptest.Legacy} {
		t.Run(version, func(t *testing.T) {
			asked, answer := make(chan struct{}), make(chan struct{})
			method := map[string]string{mcptest.Modern: "subscriptions/listen", mcptest.Legacy: "resources/subscribe"}[version]
			s := mcptest.Raw(t, mcptest.Script{Version: version, Sessions: version == mcptest.Legacy, Streams: true, Watch: "test://"})
			f, _ := httpFixture(t, mcptest.Either(t, func(q *mcptest.Request) *mcptest.RawServer {
				if q.Method == method {
					asked <- struct{}{}
					<-answer
				}
				return s
			}))
			told, done := make(chan string, 8), make(chan func())
			go func() {
				stop, _, _ := subscribe(f, upstreamtest.Alice, "test://a", func(params []byte) { told <- string(params) })
				done <- stop
			}()
			<-asked
			gone := func(ctx context.Context) context.Context {
				ctx, cancel := context.WithCancel(ctx)
				cancel()
				return ctx
			}
			if _, _, err := subscribeIn(f, upstreamtest.Alice, "test://a", func([]byte) {}, gone); err == nil {
				t.Fatal("whoever has gone has subscribed")
			}
			close(answer)
			stop := <-done
			defer stop()
			s.Update("test://a")
			<-told
		})
	}
}

func TestSubscriptionsComeAndGo(t *testing.T) {
	upstreamtest.NoLeaks(t)
	both(t, mcptest.Script{Watch: "test://", Streams: true}, func(t *testing.T, s *mcptest.RawServer) {
		f, _ := httpFixture(t, s.Server)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for range 5 {
					stop, a, err := subscribe(f, upstreamtest.Alice, fmt.Sprintf("test://%d", i%3), func([]byte) {})
					if err != nil || a != nil {
						t.Error(a, err)
						return
					}
					stop()
				}
			})
		}
		wg.Wait()
		until(s)
		told, stop := watch(t, f, "test://0")
		s.Update("test://0")
		<-told
		stop()
	})
}
