package llm_test

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tollgate/tollgate/llm"
)

// long makes the test of truncated streams as long as its claim: 100,000 of them.
var long = flag.Bool("long", false, "run 100,000 streams where 2,000 are usual")

// swift is a provider that answers at once: before it has looked at its request, and in one piece or in many.
func swift(t testing.TB, pieces int) (*httptest.Server, string) {
	stream := chatRole + strings.Repeat(chatHi, 48) + chatStop + chatUsage + chatDone
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		if !strings.Contains(r.Header.Get("X-Want"), "stream") {
			h["Content-Type"] = []string{"application/json"}
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, chatBody)
			return
		}
		h["Content-Type"] = []string{"text/event-stream"}
		if pieces == 1 {
			_, _ = io.WriteString(w, stream)
			return
		}
		for part := range strings.SplitAfterSeq(stream, "\n\n") {
			_, _ = io.WriteString(w, part)
			_ = http.NewResponseController(w).Flush()
		}
	}))
	t.Cleanup(s.Close)
	return s, stream
}

// No stream is cut or changed on its way, however quick the provider is.
func TestNoStreamIsTruncated(t *testing.T) {
	streams := 2_000
	if *long {
		streams = 100_000
	}
	if testing.Short() {
		streams = 400
	}
	const workers = 16
	for _, pieces := range []int{1, 50} {
		up, want := swift(t, pieces)
		w := newWorld(t, setup{providers: []llm.Provider{every(t, "up", &peer{Server: up})}})
		body := padded("up/m", 1500, true)
		var next, bad atomic.Int64
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for next.Add(1) <= int64(streams/2) && bad.Load() == 0 {
					resp, err := w.send(context.Background(), http.MethodPost, "/v1/chat/completions", body, "X-Want", "stream")
					if err != nil {
						bad.Add(1)
						t.Error(err)
						return
					}
					got, err := io.ReadAll(resp.Body)
					_ = resp.Body.Close()
					if err != nil || string(got) != want {
						bad.Add(1)
						t.Errorf("%d pieces: %v, %d bytes of %d", pieces, err, len(got), len(want))
					}
				}
			})
		}
		wg.Wait()
	}
}

// padded is a chat request of some size.
func padded(model string, size int, stream bool) string {
	head := fmt.Sprintf(`{"model":%q,"stream":%v,"stream_options":{"include_usage":true},"messages":[`, model, stream)
	const turn = `{"role":"user","content":"the quick brown fox jumps over the lazy dog; then it sits down and thinks \"again\""},`
	return head + strings.Repeat(turn, max(0, size-len(head))/len(turn)) + `{"role":"user","content":"go"}]}`
}

// plainProxy is what the gateway is measured against: net/http on both sides, the body buffered, nothing governed.
func plainProxy(b *testing.B, upstream string) *httptest.Server {
	transport := &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true, WriteBufferSize: 16 << 10, ReadBufferSize: 8 << 10}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, r.ContentLength)
		if _, err := io.ReadFull(r.Body, body); err != nil {
			http.Error(w, "body", http.StatusBadRequest)
			return
		}
		req, err := http.NewRequestWithContext(r.Context(), r.Method, upstream+r.URL.Path, bytes.NewReader(body))
		if err != nil {
			http.Error(w, "request", http.StatusBadRequest)
			return
		}
		for name, values := range r.Header {
			req.Header[name] = values
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			http.Error(w, "upstream", http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		for name, values := range resp.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(resp.StatusCode)
		buf := make([]byte, 32<<10)
		flush := http.NewResponseController(w)
		for {
			n, err := resp.Body.Read(buf)
			if n > 0 {
				_, _ = w.Write(buf[:n])
				_ = flush.Flush()
			}
			if err != nil {
				return
			}
		}
	}))
	b.Cleanup(s.Close)
	return s
}

// The governed proxy and the plain one, with the same bodies, clients and provider.
func BenchmarkProxy(b *testing.B) {
	for _, c := range []struct {
		name   string
		bytes  int
		stream bool
	}{{"1.5KB", 1500, false}, {"48KB", 48 << 10, false}, {"50 chunks", 1500, true}} {
		up, stream := swift(b, 50)
		want := chatBody
		if c.stream {
			want = stream
		}
		policy := "version: 1\nrules:\n  - {id: all, effect: allow, models: ['*']}\n"
		for i := range 9 {
			policy += fmt.Sprintf("  - {id: r%d, effect: deny, models: ['up/never-%d*'], when: 'key.name != \"ci\"'}\n", i, i)
		}
		w := newWorld(b, setup{
			providers: []llm.Provider{every(b, "up", &peer{Server: up})}, policy: policy,
			limits: []string{"1000000 USD / 1M", "1000000000 calls / 1m", "1000000M tokens / 1m", "1000 concurrent"},
		})
		body := padded("up/m", c.bytes, c.stream)
		b.Run(c.name+"/plain", func(b *testing.B) { load(b, plainProxy(b, up.URL).URL, body, c.stream, want) })
		b.Run(c.name+"/governed", func(b *testing.B) { load(b, w.URL, body, c.stream, want) })
	}
}

// connections that load keeps busy for each processor: some, so that the ledger has groups to sync, as it has in earnest.
const connections = 16

// load sends the same request over and over.
func load(b *testing.B, url, body string, stream bool, want string) {
	b.ReportAllocs()
	b.SetParallelism(connections)
	before := cpu(b)
	defer func() { b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/op") }()
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.DialTimeout("tcp", strings.TrimPrefix(url, "http://"), time.Second)
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		request := []byte(rawRequest(body, stream))
		r := newAnswers(conn)
		for pb.Next() {
			if _, err := conn.Write(request); err != nil {
				b.Error(err)
				return
			}
			if got, err := r.next(); err != nil || string(got) != want {
				b.Errorf("%v: %q", err, got)
				return
			}
		}
	})
}

// cpu is what this process, provider and clients included, has used so far. It says more than the time on a busy machine.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func rawRequest(body string, stream bool) string {
	h := "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + ciKey + "\r\nContent-Type: application/json\r\nUser-Agent: OpenAI/JS 6.49\r\nAccept: application/json\r\n"
	if stream {
		h += "X-Want: stream\r\n"
	}
	return h + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
}

// answers reads answers from a connection with as little work as can be, so that the client is not what is measured.
type answers struct {
	r    *bufio.Reader
	body []byte
}

func newAnswers(conn net.Conn) *answers { return &answers{r: bufio.NewReaderSize(conn, 64<<10)} }

func (a *answers) next() ([]byte, error) {
	length, chunked := 0, false
	for first := true; ; first = false {
		line, err := a.r.ReadSlice('\n')
		switch {
		case err != nil:
			return nil, err
		case first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200")):
			return nil, fmt.Errorf("%q", line)
		case len(line) == 2:
			if chunked {
				return a.chunks()
			}
			a.body = append(a.body[:0], make([]byte, length)...)
			_, err := io.ReadFull(a.r, a.body)
			return a.body, err
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			for _, c := range bytes.TrimSpace(value) {
				length = length*10 + int(c-'0')
			}
		}
		chunked = chunked || bytes.HasPrefix(line, []byte("Transfer-Encoding: chunked"))
	}
}

func (a *answers) chunks() ([]byte, error) {
	a.body = a.body[:0]
	for {
		line, err := a.r.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		size, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 64)
		if err != nil {
			return nil, err
		}
		at := len(a.body)
		a.body = append(a.body, make([]byte, size+2)...)
		if _, err := io.ReadFull(a.r, a.body[at:]); err != nil {
			return nil, err
		}
		a.body = a.body[:len(a.body)-2]
		if size == 0 {
			return a.body, nil
		}
	}
}
