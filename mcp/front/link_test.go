package front

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/tollgate/tollgate/internal/sse"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/front/flights"
	"github.com/tollgate/tollgate/mcp/front/reply"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/oauth"
	"github.com/tollgate/tollgate/policy"
)

// slow is a hall whose calls of the tool t last until they are let go or cancelled; it says what became of each.
type slow struct {
	*hall
	begun chan string // gets the params of a call that has begun
	let   chan struct{}
	ended chan error
}

func newSlow() *slow {
	return &slow{hall: newHall(), begun: make(chan string, 300), let: make(chan struct{}), ended: make(chan error, 300)}
}

func (s *slow) Call(ctx context.Context, c *Call) (*era.Result, error) {
	s.begun <- string(c.Params)
	select {
	case <-s.let:
	case <-ctx.Done():
		s.ended <- ctx.Err()
		return nil, &rpc.Error{Code: 499, Message: "the call was cancelled"}
	}
	c.Notify("notifications/progress", []byte(`{"progressToken":1,"progress":1}`))
	s.ended <- nil
	return era.ReadResult([]byte(`{"content" : [
		]}`))
}

// keys lets in whoever comes with a key that is not revoked.
type keys struct {
	mu      sync.Mutex
	byKey   map[string]*policy.Principal
	revoked bool
}

func newKeys() *keys {
	return &keys{byKey: map[string]*policy.Principal{"alice": {Key: "alice", KeyID: "1"}, "bob": {Key: "bob", KeyID: "2"}}}
}

func (k *keys) Authenticate(r *http.Request) (*policy.Principal, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.byKey[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	if p == nil || k.revoked {
		return nil, &oauth.Refusal{Status: http.StatusUnauthorized, Text: "no such key"}
	}
	return p, nil
}

func (k *keys) revoke() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.revoked = true
}

// pipe is the process that a client has spawned, as the client sees it.
type pipe struct {
	t    *testing.T
	in   *io.PipeWriter
	out  *bufio.Reader
	body io.Closer
}

// spawn connects a client of stdio to f.
func spawn(t *testing.T, f *Front, path string) *pipe {
	t.Helper()
	srv := httptest.NewServer(f.Stdio())
	r, w := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+path, r)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer alice")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = w.Close()
		resp.Body.Close()
		srv.Close()
	})
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(resp.Body)
		t.Fatalf("%d %s", resp.StatusCode, b)
	}
	return &pipe{t: t, in: w, out: bufio.NewReader(resp.Body), body: resp.Body}
}

func (p *pipe) say(lines ...string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, strings.Join(lines, "\n")+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

// hear returns the next line.
func (p *pipe) hear() string {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.t.Fatalf("%q %v", line, err)
	}
	if !json.Valid([]byte(line)) {
		p.t.Errorf("not one message in a line: %q", line)
	}
	return strings.TrimSuffix(line, "\n")
}

// rest ends the input and returns what is still said.
func (p *pipe) rest() string {
	p.t.Helper()
	_ = p.in.Close()
	b, err := io.ReadAll(p.out)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

const (
	metaMember  = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`
	helloNov    = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","clientInfo":{"name":"c","version":"1"}}}`
	helloMar    = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-03-26"}}`
	initialized = `{"jsonrpc":"2.0","method":"notifications/initialized"}`
)

func modernCall(id int) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"srv__t","arguments":{"n":%d},%s}}`, id, id, metaMember)
}

func legacyCall(id int) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"srv__t","arguments":{"n":%d}}}`, id, id)
}

func slowFront(t *testing.T) (*Front, *slow, *keys) {
	s, k := newSlow(), newKeys()
	f := New(Config{Auth: k, Backend: s, Sealer: sealer(1), Version: "1"})
	t.Cleanup(f.Close)
	return f, s, k
}

func TestStdioSpeaksBothErasOnOnePipe(t *testing.T) {
	f, _ := newFront()
	defer f.Close()
	p := spawn(t, f, "/stdio/srv")
	p.say(`{"jsonrpc":"2.0","id":"d","method":"server/discover","params":{` + metaMember + `}}`)
	if got := p.hear(); !strings.Contains(got, `"id":"d"`) || !strings.Contains(got, `"supportedVersions":["2026-07-28"]`) {
		t.Error(got)
	}
	p.say(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	if got := p.hear(); !strings.Contains(got, "send initialize first") {
		t.Error(got)
	}
	// Nothing waits for an answer before the next line.
	p.say(helloNov, initialized, "", `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`)
	if got := p.hear(); !strings.Contains(got, `"id":0,"result":{"protocolVersion":"2025-11-25"`) {
		t.Error(got)
	}
	if got := p.hear(); !strings.Contains(got, `"id":2,"result":{"tools":[{"name":"t"`) {
		t.Error(got)
	}
	for say, want := range map[string]string{
		helloNov: "has a session already",
		`{"jsonrpc":"2.0","id":3,"method":"tools/list","params":{` + metaMember + `}}`:                 `"resultType":"complete"`,
		`{"jsonrpc":"2.0","id":4,"method":"nonsense","params":{` + metaMember + `}}`:                   `-32601`,
		`{"jsonrpc":"2.0","id":5,"method":"tools/list","params":{"_meta":{"progressToken":{}}}}`:       `"id":5,"error":{"code":-32602`,
		`{"jsonrpc":"2.0","id":6,"method":`:                                                            `"id":null,"error":{"code":-32700`,
		`[{"jsonrpc":"2.0","id":7,"method":"ping"}]`:                                                   `has no batches`,
		`{"jsonrpc":"2.0","id":8,"method":"ping","params":{"x":"` + strings.Repeat("x", 5<<20) + `"}}`: `at most 4 MiB`,
	} {
		p.say(say)
		if got := p.hear(); !strings.Contains(got, want) {
			t.Errorf("%.100s: %s", say, got)
		}
	}
	if got := p.rest(); got != "" {
		t.Errorf("at the end: %s", got)
	}
	if len(f.sessions.byID) != 0 || len(f.sessions.counts) != 0 {
		t.Error("the session has outlived its client")
	}
}

func TestStdioBatch(t *testing.T) {
	f, _ := newFront()
	defer f.Close()
	p := spawn(t, f, "/stdio")
	p.say(helloMar)
	p.hear()
	p.say(`[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"x"},{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"srv__t"}}]`)
	if got := p.hear(); !strings.Contains(got, "notifications/progress") {
		t.Error(got)
	}
	if got := p.hear(); got != `[{"jsonrpc":"2.0","id":1,"result":{}},{"jsonrpc":"2.0","id":2,"result":{}}]` {
		t.Error(got)
	}
	p.say(`[` + initialized + `]`)
	if got := p.rest(); got != "" {
		t.Error(got)
	}
}

func TestStdioCallsRunBesideEachOther(t *testing.T) {
	f, s, _ := slowFront(t)
	p := spawn(t, f, "/stdio")
	p.say(helloNov)
	p.hear()
	p.say(modernCall(1), legacyCall(2), legacyCall(2))
	if got := p.hear(); !strings.Contains(got, `"id":2,"error"`) || !strings.Contains(got, "still running") {
		t.Error(got)
	}
	<-s.begun
	<-s.begun
	// A cancelled call of either era ends, and nothing more is said to it.
	for _, id := range []int{1, 2} {
		p.say(fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d}}`, id))
		if err := <-s.ended; err == nil {
			t.Errorf("call %d was not cancelled", id)
		}
	}
	for id := 3; id < 3+flights.Max; id++ {
		p.say(modernCall(id))
		<-s.begun
	}
	p.say(legacyCall(1000))
	if got := p.hear(); !strings.Contains(got, `"id":1000,"error":{"code":429`) {
		t.Error(got)
	}
	// The end of the input is no cancellation: what was asked is answered, and listening ends.
	close(s.let)
	got := p.rest()
	if n := strings.Count(got, `"result":{"content" : [`); n != flights.Max || strings.Count(got, "notifications/progress") != flights.Max {
		t.Errorf("%d answers", n)
	}
	if strings.Contains(got, `"id":1,`) || strings.Contains(got, `"id":2,`) {
		t.Error("a cancelled call was answered")
	}
}

func TestStdioListenEnds(t *testing.T) {
	f, _ := newFront()
	defer f.Close()
	p := spawn(t, f, "/stdio")
	listen := func(id int) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true},%s}}`, id, metaMember)
	}
	p.say(listen(1), listen(2))
	for range 2 {
		if got := p.hear(); !strings.Contains(got, `notifications/subscriptions/acknowledged","params":{"notifications":{"toolsListChanged":true}`) {
			t.Error(got)
		}
	}
	p.say(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`)
	if got := p.rest(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"id":2,"result":{"resultType":"complete"`) {
		t.Errorf("at the end: %s", got)
	}
}

func TestAClientThatVanishesCancels(t *testing.T) {
	f, s, _ := slowFront(t)
	p := spawn(t, f, "/stdio")
	p.say(helloNov)
	p.hear()
	p.say(modernCall(1), legacyCall(2))
	<-s.begun
	<-s.begun
	p.body.Close()
	for range 2 {
		if err := <-s.ended; err == nil {
			t.Error("not cancelled")
		}
	}
}

func TestStdioOfARevokedKeyEnds(t *testing.T) {
	f, _, k := slowFront(t)
	p := spawn(t, f, "/stdio")
	k.revoke()
	p.say(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{` + metaMember + `}}`)
	if got := p.hear(); !strings.Contains(got, `"code":401`) {
		t.Error(got)
	}
	if _, err := p.out.ReadByte(); err == nil {
		t.Error("it goes on")
	}
}

func TestStdioEndsWithTheGateway(t *testing.T) {
	f, _, _ := slowFront(t)
	p := spawn(t, f, "/stdio")
	f.Close()
	if _, err := p.out.ReadByte(); err == nil {
		t.Error("it goes on")
	}
}

func TestStdioIsEnteredLikeAnyDoor(t *testing.T) {
	f, h := newFront()
	defer f.Close()
	f.cfg.Auth = newKeys()
	for _, tt := range []struct {
		method, path, key string
		want              int
	}{
		{"POST", "/stdio", "", 401}, {"POST", "/stdio", "mallory", 401}, {"POST", "/stdio/none", "alice", 404}, {"GET", "/stdio", "alice", 405},
	} {
		srv := httptest.NewServer(f.Stdio())
		endless, w := io.Pipe()
		req, _ := http.NewRequestWithContext(t.Context(), tt.method, srv.URL+tt.path, endless)
		req.Header.Set("Authorization", "Bearer "+tt.key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		srv.Close()
		w.Close()
		if resp.StatusCode != tt.want {
			t.Errorf("%s %s as %q: %d, want %d", tt.method, tt.path, tt.key, resp.StatusCode, tt.want)
		}
	}
	if len(h.refused) == 0 {
		t.Error("nothing was recorded")
	}
}

// sseStream opens a stream and returns its events and the address to post to.
func sseStream(t *testing.T, url, key string) (events *sse.Reader, address string, leave context.CancelFunc) {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/sse", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { leave(); resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %s", resp.StatusCode, resp.Header)
	}
	events = sse.NewReader(resp.Body, 0)
	e, err := events.Next()
	if err != nil || string(e.Name) != "endpoint" || !strings.HasPrefix(string(e.Data), "/sse?session=") {
		t.Fatalf("%q %q %v", e.Name, e.Data, err)
	}
	return events, url + string(e.Data), leave
}

// postTo sends one message to the address of a stream.
func postTo(t *testing.T, address, key, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestSSE(t *testing.T) {
	f, s, _ := slowFront(t)
	srv := httptest.NewServer(f)
	defer srv.Close()
	events, address, leave := sseStream(t, srv.URL, "alice")
	next := func() string {
		e, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		if string(e.Name) != "message" {
			t.Errorf("an event named %q", e.Name)
		}
		return string(e.Data)
	}
	for _, tt := range []struct{ say, want string }{
		{`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, "send initialize first"},
		{strings.Replace(helloNov, "2025-11-25", "2024-11-05", 1), `"id":0,"result":{"protocolVersion":"2024-11-05"`},
		{`{"jsonrpc":"2.0","id":2,"method":"ping"}`, `{"jsonrpc":"2.0","id":2,"result":{}}`},
		{`{"jsonrpc":"2.0","id":3,"method":"tools/list","params":{` + metaMember + `}}`, `"id":3,"result":{"tools"`},
		{`{"jsonrpc":"2.0","id":4,"method":"server/discover","params":{` + metaMember + `}}`, `-32601`},
	} {
		if status, body := postTo(t, address, "alice", tt.say); status != http.StatusAccepted || body != "" {
			t.Errorf("%s: %d %s", tt.say, status, body)
		}
		if got := next(); !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s", tt.say, got)
		}
	}
	for _, tt := range []struct {
		name, address, key, body string
		want                     int
	}{
		{"another's stream", address, "bob", "{}", 404}, {"no stream", srv.URL + "/sse", "alice", "{}", 404},
		{"another path", strings.Replace(address, "/sse", "/sse/srv", 1), "alice", "{}", 404},
		{"no key", address, "", "{}", 401}, {"no message", address, "alice", "{}", 400}, {"no JSON", address, "alice", "x", 400},
		{"a batch", address, "alice", "[]", 400},
	} {
		if status, body := postTo(t, tt.address, tt.key, tt.body); status != tt.want || !json.Valid([]byte(body)) {
			t.Errorf("%s: %d %s", tt.name, status, body)
		}
	}
	// The client leaving is the end of its session.
	postTo(t, address, "alice", legacyCall(5))
	<-s.begun
	leave()
	if err := <-s.ended; err == nil {
		t.Error("the call went on")
	}
}

// TestOnePanicEndsOneMessage holds that a message whose service panics is answered, and that the process and the client's
// other messages go on.
func TestOnePanicEndsOneMessage(t *testing.T) {
	f, h := newFront()
	defer f.Close()
	h.call = func(context.Context, *Call) (*era.Result, error) { panic("a defect") }
	p := spawn(t, f, "/stdio")
	p.say(helloMar)
	p.hear()
	for _, say := range []string{legacyCall(1), modernCall(1), "[" + legacyCall(1) + "]"} {
		p.say(say)
		if got := p.hear(); !strings.Contains(got, `"id":1,"error":{"code":-32603`) {
			t.Errorf("%s: %s", say, got)
		}
	}
	p.say(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	if got := p.hear(); !strings.Contains(got, `"id":1,"result"`) {
		t.Error(got)
	}
}

// TestStdioBatchCancelled holds that a call that came in a batch is cancelled as any other.
func TestStdioBatchCancelled(t *testing.T) {
	f, s, _ := slowFront(t)
	p := spawn(t, f, "/stdio")
	p.say(helloMar)
	p.hear()
	p.say("[" + legacyCall(1) + "]")
	<-s.begun
	p.say(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`)
	if got := p.hear(); !strings.Contains(got, `"code":499`) {
		t.Error(got)
	}
}

// TestNothingBeginsOnALinkThatEnds holds that a message that comes while the last answers are awaited is told so.
func TestNothingBeginsOnALinkThatEnds(t *testing.T) {
	f, s, _ := slowFront(t)
	srv := httptest.NewServer(f)
	defer srv.Close()
	events, address, leave := sseStream(t, srv.URL, "alice")
	defer leave()
	next := func() string {
		e, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		return string(e.Data)
	}
	postTo(t, address, "alice", helloNov)
	next()
	postTo(t, address, "alice", legacyCall(1))
	<-s.begun
	l, _ := f.links.Find(address[strings.Index(address, "=")+1:], owner{"1", "alice", ""})
	ended := make(chan bool)
	go func() {
		l.finish()
		close(ended)
	}()
	for begun := true; begun; { // until it is ending
		begun = l.begin(&exchange{}, nil, func() {})
	}
	postTo(t, address, "alice", legacyCall(2))
	if got := next(); !strings.Contains(got, `"id":2,"error":{"code":503`) {
		t.Error(got)
	}
	close(s.let)
	if got := next(); !strings.Contains(got, "notifications/progress") {
		t.Error(got)
	}
	if got := next(); !strings.Contains(got, `"id":1,"result"`) {
		t.Error(got)
	}
	<-ended
}

// FuzzStdio holds that whatever lines come in, what goes out is one message or batch per line, and that nothing panics.
func FuzzStdio(f *testing.F) {
	f.Add(helloNov + "\n" + initialized + "\n" + legacyCall(1) + "\n" + modernCall(2))
	f.Add(helloMar + "\n[" + legacyCall(1) + "," + initialized + "]\n[]\n[1]\n")
	f.Add("\n\r\n{}\nnull\n" + `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`)
	front, _ := newFront()
	f.Fuzz(func(t *testing.T, input string) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/stdio", nil)
		p, _ := front.cfg.Auth.Authenticate(r)
		w := httptest.NewRecorder()
		x := &exchange{Front: front, w: w, r: r, base: p, space: front.cfg.Backend.Catalog().Space("")}
		x.out = reply.NewLines(w, r)
		l := x.newLink(x.out, true)
		if err := l.read(strings.NewReader(input)); err != nil {
			t.Fatal(err)
		}
		l.drain()
		l.close()
		for line := range strings.Lines(w.Body.String()) {
			if !json.Valid([]byte(line)) || !strings.HasSuffix(line, "\n") {
				t.Fatalf("not one message: %q", line)
			}
		}
	})
}
