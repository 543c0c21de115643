package load

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/conformance/bench/mock"
)

// serve starts a mock that lives as long as the test binary: its loop has no other end.
func serve(t *testing.T) string {
	t.Helper()
	m, err := mock.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go m.Run()
	return m.Addr
}

func chat(model string) []byte {
	body := fmt.Sprintf(`{"model":%q,"stream":true,"stream_options":{"include_usage":true},"messages":[]}`, model)
	return fmt.Appendf(nil, "POST /v1/chat/completions HTTP/1.1\r\nHost: mock\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func open(t *testing.T, plan Plan) *Session {
	t.Helper()
	s, err := Open(plan)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func sendInstead(s *Session, request []byte) {
	s.plan.Requests[0] = request
	for _, c := range s.conns {
		c.request = request
	}
}

func TestEveryRequestIsSentAndAnswered(t *testing.T) {
	s := open(t, Plan{Addr: serve(t), Requests: [][]byte{chat("answer")}, Connections: 4})
	r, err := s.Rate(1000, 200*time.Millisecond)
	if err != nil || r.Sent != 200 || r.Done != 200 || r.Bad() != 0 || r.Latency.TotalCount() != 200 {
		t.Errorf("%+v, %v", r, err)
	}
	r, err = s.Count(500)
	if err != nil || r.Sent != 500 || r.Done != 500 {
		t.Errorf("%+v, %v", r, err)
	}
}

// One connection to a model that takes 20 ms cannot keep up with a request every 10 ms: the 30th is due at 300 ms and
// cannot be answered before 600 ms. A generator that waits for answers before it sends would report 20 ms throughout.
func TestLatencyCountsFromWhenARequestWasDue(t *testing.T) {
	s := open(t, Plan{Addr: serve(t), Requests: [][]byte{chat("answer-20ms")}, Connections: 1})
	r, err := s.Rate(100, 300*time.Millisecond)
	if err != nil || r.Done != 30 || r.Queued == 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if late := time.Duration(r.Latency.Max()); late < 290*time.Millisecond {
		t.Errorf("the last answer was counted as %s late", late)
	}
}

func TestStreamsAreReadToTheirEnd(t *testing.T) {
	s := open(t, Plan{Addr: serve(t), Requests: [][]byte{chat("stream-50-0ms")}, Connections: 3, Stream: true})
	r, err := s.Count(9)
	if err != nil || r.Done != 9 || r.Transit.TotalCount() != 9*50 {
		t.Errorf("%d streams, %d chunks, %v: %+v", r.Done, r.Transit.TotalCount(), err, r)
	}
}

func TestAStreamWithoutItsEndIsTruncated(t *testing.T) {
	s := open(t, Plan{Addr: serve(t), Requests: [][]byte{chat("stream-2-0ms")}, Connections: 1, Stream: true})
	sendInstead(s, chat("answer")) // whole in HTTP, but no stream
	r, err := s.Count(2)
	if err != nil || r.Truncated != 2 || r.Done != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestWhatHangsIsCounted(t *testing.T) {
	s := open(t, Plan{Addr: serve(t), Requests: [][]byte{chat("answer")}, Connections: 2})
	sendInstead(s, chat("hold"))
	s.drain = 50 * time.Millisecond
	r, err := s.Rate(100, 50*time.Millisecond)
	if err != nil || r.Hung != 5 || r.Done != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	sendInstead(s, chat("answer"))
	if r, err = s.Count(4); err != nil || r.Done != 4 {
		t.Errorf("after replacing the connections: %+v, %v", r, err)
	}
}

func TestATargetThatRefusesCannotBeOpened(t *testing.T) {
	_, err := Open(Plan{Addr: serve(t), Requests: [][]byte{chat("nobody")}, Connections: 1})
	if err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("got %v", err)
	}
}

func BenchmarkRequest(b *testing.B) {
	m, err := mock.Listen("127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go m.Run()
	s, err := Open(Plan{Addr: m.Addr, Requests: [][]byte{chat("answer")}, Connections: 8})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	b.ResetTimer()
	if r, err := s.Count(b.N); err != nil || r.Done != b.N {
		b.Fatalf("%+v, %v", r, err)
	}
}

func TestStreamsAreHeldOnceTheyHaveBegun(t *testing.T) {
	addr := serve(t)
	h, err := Hold(addr, chat("hold"), 20)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for _, c := range h.conns {
		if !c.ended || !strings.Contains(string(c.buf), mock.Stamp) {
			t.Errorf("a stream has not begun: %q", c.buf)
		}
	}
	if _, err := Hold(addr, chat("nobody"), 2); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a refusal was held: %v", err)
	}
}
