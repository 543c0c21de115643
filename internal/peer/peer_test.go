package peer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/edge"
)

var key = bytes.Repeat([]byte{7}, 32)

// pair is replica b, which has what is asked for, and a, which forwards to it whatever comes.
type pair struct {
	a, b    *Net
	front   *httptest.Server // of a
	behind  *httptest.Server // of b
	address atomic.Pointer[string]
}

func newPair(t *testing.T, inside http.HandlerFunc) *pair {
	t.Helper()
	p := &pair{}
	config := func(self byte) Config {
		return Config{Self: ID{self}, Key: key, Log: slog.New(slog.DiscardHandler), Address: func(id ID) (string, bool) {
			address := p.address.Load()
			return *address, id == ID{'b'} && *address != ""
		}}
	}
	p.a, p.b = New(config('a')), New(config('b'))
	t.Cleanup(p.a.Close)
	mux := http.NewServeMux()
	mux.Handle(Path, p.b.Handler(inside))
	p.behind = httptest.NewServer(mux)
	t.Cleanup(p.behind.Close)
	p.lead(strings.TrimPrefix(p.behind.URL, "http://"))
	p.front = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		switch outcome := p.a.Forward(w, r, ID{'b'}, body); outcome {
		case Gone:
			w.WriteHeader(http.StatusNotFound)
		case Lost:
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	t.Cleanup(p.front.Close)
	return p
}

func (p *pair) lead(address string) { p.address.Store(&address) }

func (p *pair) do(t *testing.T, method, uri, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, p.front.URL+uri, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "gateway.example"
	req.Header.Set("X-Of-Caller", "kept")
	req.Header.Set("Authorization", "Bearer the-caller's")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

func TestRequestArrivesAsItCame(t *testing.T) {
	p := newPair(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("X-Of-Server", "kept")
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintln(w, r.Method, r.URL.Path, r.URL.RawQuery, r.Host, r.Header.Get("X-Of-Caller"), r.Header.Get("Authorization"), string(body), Forwarded(r), edge.Loopback(r), edge.Source(r))
	})
	for _, c := range []struct{ method, uri, body, want string }{
		{"POST", "/mcp/files?a=b%20c", `{"x":1}`, `POST /mcp/files a=b%20c gateway.example kept Bearer the-caller's {"x":1} true true 127.0.0.1`},
		{"GET", "/mcp", "", `GET /mcp  gateway.example kept Bearer the-caller's  true true 127.0.0.1`},
		{"DELETE", "/mcp", strings.Repeat("x", 1<<20), "DELETE /mcp"},
	} {
		resp, text := p.do(t, c.method, c.uri, c.body)
		if resp.StatusCode != http.StatusTeapot || resp.Header.Get("X-Of-Server") != "kept" || resp.Header.Get(takenHeader) != "" || !strings.Contains(text, c.want) {
			t.Errorf("%s: %d %v\n%.200s", c.uri, resp.StatusCode, resp.Header, text)
		}
	}
	if got := p.a.Counts(); got != (Counts{Forwarded: 3}) {
		t.Errorf("%+v", got)
	}
	if got := p.b.Counts(); got != (Counts{Taken: 3}) {
		t.Errorf("%+v", got)
	}
}

// A stream is passed on event by event, and a client that leaves is gone for both replicas.
func TestStreamIsPassedOnAsItComes(t *testing.T) {
	next, left := make(chan string), make(chan struct{})
	p := newPair(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(left)
		w.Header().Set("Content-Type", "text/event-stream")
		for {
			select {
			case text := <-next:
				fmt.Fprintln(w, text)
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.front.URL+"/mcp", nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() { next <- "first" }()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for i, want := range []string{"first", "second", "third"} {
		if i > 0 {
			next <- want
		}
		if got, err := lines.ReadString('\n'); err != nil || got != want+"\n" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	cancel()
	select {
	case <-left:
	case <-time.After(20 * time.Second):
		t.Fatal("the replica that serves does not learn that the client has left")
	}
}

func TestReplicaThatIsGone(t *testing.T) {
	p := newPair(t, func(w http.ResponseWriter, r *http.Request) { t.Error("served") })
	p.lead("") // its row has gone from the database
	if resp, _ := p.do(t, "GET", "/mcp", ""); resp.StatusCode != http.StatusNotFound {
		t.Errorf("without an address: %d", resp.StatusCode)
	}
	gone := httptest.NewServer(nil)
	p.lead(strings.TrimPrefix(gone.URL, "http://"))
	gone.Close() // not yet, but nobody listens there
	if resp, _ := p.do(t, "GET", "/mcp", ""); resp.StatusCode != http.StatusNotFound {
		t.Errorf("nobody listens: %d", resp.StatusCode)
	}
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	p.lead(strings.TrimPrefix(other.URL, "http://")) // somebody else has its address by now
	if resp, _ := p.do(t, "GET", "/mcp", ""); resp.StatusCode != http.StatusNotFound || p.a.Counts().Lost != 3 {
		t.Errorf("somebody else listens: %d, %+v", resp.StatusCode, p.a.Counts())
	}
}

// A replica that dies before its answer, and in the middle of it.
func TestReplicaThatDies(t *testing.T) {
	var begun atomic.Bool
	p := newPair(t, func(w http.ResponseWriter, r *http.Request) {
		if begun.Load() {
			fmt.Fprint(w, "half of it")
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	})
	if resp, _ := p.do(t, "POST", "/mcp", "{}"); resp.StatusCode != http.StatusBadGateway {
		t.Errorf("before its answer: %d", resp.StatusCode)
	}
	begun.Store(true)
	resp, err := http.Post(p.front.URL+"/mcp", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("a cut answer looks whole: %q", text)
	}
}

func TestRequestIsForwardedOnce(t *testing.T) {
	var p *pair
	p = newPair(t, func(w http.ResponseWriter, r *http.Request) {
		if outcome := p.b.Forward(w, r, ID{'b'}, nil); outcome != Gone {
			t.Errorf("outcome %d", outcome)
		}
		w.WriteHeader(http.StatusNotFound)
	})
	if resp, _ := p.do(t, "GET", "/mcp", ""); resp.StatusCode != http.StatusNotFound {
		t.Errorf("%d", resp.StatusCode)
	}
}

// What comes to Path without being a message for this replica, now and the first time, is refused, and all alike.
func TestOthersAreRefused(t *testing.T) {
	var served atomic.Int32
	p := newPair(t, func(w http.ResponseWriter, r *http.Request) { served.Add(1) })
	text, err := message(&head{Method: "POST", URI: "/mcp"}, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	send := func(method, contentType, authorization string, text []byte) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, p.behind.URL+Path, bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", contentType)
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(answer)
	}
	good := newTicket(ID{'b'}, now, text).sign(key)
	if status, answer := send("POST", contentType, good, text); status != http.StatusOK || served.Load() != 1 {
		t.Fatalf("a message: %d %s", status, answer)
	}
	at := func(when time.Time) string { return newTicket(ID{'b'}, when, text).sign(key) }
	outside, _ := message(&head{Method: "POST", URI: "http://elsewhere/"}, nil)
	inside, _ := message(&head{Method: "POST", URI: Path}, nil)
	large := append(bytes.Clone(text), make([]byte, headBytesMax+bodyBytesMax)...)
	changed := bytes.Replace(text, []byte("/mcp"), []byte("/xyz"), 1)
	for name, c := range map[string]struct {
		method, contentType, authorization string
		text                               []byte
	}{
		"again":             {"POST", contentType, good, text},
		"unsigned":          {"POST", contentType, "", text},
		"a caller's key":    {"POST", contentType, "Bearer tg_sk_x", text},
		"another key":       {"POST", contentType, newTicket(ID{'b'}, now, text).sign(make([]byte, 32)), text},
		"cut signature":     {"POST", contentType, at(now)[:100], text},
		"changed":           {"POST", contentType, at(now), changed},
		"longer":            {"POST", contentType, at(now), append(bytes.Clone(text), 'x')},
		"another replica's": {"POST", contentType, newTicket(ID{'c'}, now, text).sign(key), text},
		"old":               {"POST", contentType, at(now.Add(-goodFor - time.Second)), text},
		"of the future":     {"POST", contentType, at(now.Add(goodFor + time.Minute)), text},
		"another method":    {"PUT", contentType, at(now), text},
		"another type":      {"POST", "application/json", at(now), text},
		"no head":           {"POST", contentType, newTicket(ID{'b'}, now, []byte("{}")).sign(key), []byte("{}")},
		"a broken head":     {"POST", contentType, newTicket(ID{'b'}, now, []byte("{\n")).sign(key), []byte("{\n")},
		"to elsewhere":      {"POST", contentType, newTicket(ID{'b'}, now, outside).sign(key), outside},
		"to itself":         {"POST", contentType, newTicket(ID{'b'}, now, inside).sign(key), inside},
		"too large":         {"POST", contentType, newTicket(ID{'b'}, now, large).sign(key), large},
	} {
		status, answer := send(c.method, c.contentType, c.authorization, c.text)
		if status != http.StatusForbidden || answer != "this is for other replicas of the gateway\n" || served.Load() != 1 {
			t.Errorf("%s: %d %q, served %d", name, status, answer, served.Load())
		}
	}
	if got := p.b.Counts(); got != (Counts{Taken: 1, Refused: 17}) {
		t.Errorf("%+v", got)
	}
}

func TestEachMessageCountsOnce(t *testing.T) {
	var o once
	now := time.Now()
	var wg sync.WaitGroup
	var first atomic.Int32
	for range 16 {
		wg.Go(func() {
			if o.first([16]byte{1}, now) {
				first.Add(1)
			}
		})
	}
	wg.Wait()
	if first.Load() != 1 {
		t.Errorf("counted %d times", first.Load())
	}
	// While it is good it is remembered, whatever comes in between.
	for i, age := range []time.Duration{goodFor, 2*goodFor + 1, 2*goodFor + 2} {
		if o.first([16]byte{1}, now.Add(age)) {
			t.Errorf("forgotten after %s", age)
		}
		o.first([16]byte{2, byte(i)}, now.Add(age))
	}
	if !o.first([16]byte{1}, now.Add(10*goodFor)) || len(o.old) != 0 {
		t.Error("remembered for good")
	}
	full := once{young: map[[16]byte]struct{}{}, generations: now}
	for i := range onceMax {
		full.young[[16]byte{byte(i), byte(i >> 8), byte(i >> 16)}] = struct{}{}
	}
	if full.first([16]byte{15: 1}, now) {
		t.Error("more than can be remembered are taken")
	}
}

func TestLargeHeadersStay(t *testing.T) {
	if _, err := message(&head{URI: "/" + strings.Repeat("x", headBytesMax)}, nil); err == nil {
		t.Error("a head larger than what is taken is sent")
	}
}

func FuzzRead(f *testing.F) {
	whole, err := message(&head{Method: "POST", URI: "/mcp?x=1", Header: http.Header{"A": {"b"}}}, []byte("{}"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte("{}\n"))
	f.Add([]byte(`{"uri":"/replica"}` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		h, body, err := read(text)
		if err != nil {
			return
		}
		r := h.request(httptest.NewRequest(http.MethodPost, Path, nil), body)
		if r.URL == nil || r.URL.Host != "" || !strings.HasPrefix(r.URL.Path, "/") || strings.HasPrefix(r.URL.Path, Path) || r.ContentLength != int64(len(body)) || r.Header == nil {
			t.Fatalf("%q became %+v", text, r)
		}
		if again, err := message(h, body); err != nil && !errors.Is(err, io.EOF) && len(text) < headBytesMax/8 {
			t.Fatalf("%q: %v, %q", text, err, again)
		}
	})
}

func FuzzTicket(f *testing.F) {
	f.Add(newTicket(ID{'b'}, time.Now(), nil).sign(key))
	f.Add(scheme)
	f.Fuzz(func(t *testing.T, text string) {
		if got, ok := readTicket(make([]byte, 32), text); ok {
			t.Fatalf("a ticket that nobody signed: %+v", got)
		}
	})
}

// timedWriter fails a test in which something is written without a deadline.
type timedWriter struct {
	*httptest.ResponseRecorder
	t     *testing.T
	until time.Time
}

func (w *timedWriter) SetWriteDeadline(until time.Time) error {
	w.until = until
	return nil
}

func (w *timedWriter) Write(b []byte) (int, error) {
	if !w.until.After(time.Now()) {
		w.t.Errorf("%q was written without a deadline", b)
	}
	return w.ResponseRecorder.Write(b)
}

func TestClientThatDoesNotReadIsGivenUp(t *testing.T) {
	p := newPair(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "one")
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, "two")
	})
	w := &timedWriter{ResponseRecorder: httptest.NewRecorder(), t: t}
	if o := p.a.Forward(w, httptest.NewRequest(http.MethodGet, "/mcp", nil), ID{'b'}, nil); o != Answered || w.Body.String() != "onetwo" {
		t.Errorf("%v %q", o, w.Body)
	}
	if !w.until.IsZero() {
		t.Error("the deadline stays on the connection")
	}
}
