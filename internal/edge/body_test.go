package edge

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"
)

// reader is a server that reads one body and answers with its length, or the problem; slow is its limit in time.
func reader(t testing.TB, lim Limits) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, p := Body(w, r, lim)
		if p != nil {
			http.Error(w, p.Text, p.Status)
			return
		}
		fmt.Fprint(w, len(body))
	}))
	t.Cleanup(s.Close)
	return s
}

// send writes text to the server as it is and returns the status and body of the answer, and whether the server closes.
func send(t *testing.T, s *httptest.Server, text string) (status int, body string, closes bool) {
	t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Close
}

func post(headers, body string) string {
	return "POST / HTTP/1.1\r\nHost: localhost\r\n" + strings.ReplaceAll(headers, "\n", "\r\n") + "\r\n\r\n" + body
}

func TestBody(t *testing.T) {
	const limit = 600 << 10
	const json = "Content-Type: application/json"
	large := strings.Repeat("x", limit)
	chunked := func(n int, end string) string {
		return post(json+"\nTransfer-Encoding: chunked", fmt.Sprintf("%x\r\n%s\r\n%s", n, large[:n], end))
	}
	tests := []struct {
		name, request string
		status        int
		body          string
	}{
		{"small", post(json+"\nContent-Length: 2", "{}"), 200, "2"},
		{"none", post(json+"\nContent-Length: 0", ""), 200, "0"},
		{"as large as is allowed", post(fmt.Sprintf("%s\nContent-Length: %d", json, limit), large), 200, fmt.Sprint(limit)},
		{"one byte too large", post(fmt.Sprintf("%s\nContent-Length: %d", json, limit+1), large+"x"), 413, "larger than 600 KiB"},
		{"declared too large, nothing sent", post(json+"\nContent-Length: 99999999999", ""), 413, "larger"},
		{"chunked", chunked(100_000, "0\r\n\r\n"), 200, "100000"},
		{"chunked, as large as is allowed", chunked(limit, "0\r\n\r\n"), 200, fmt.Sprint(limit)},
		{"chunked, too large", chunked(limit, "1\r\nx\r\n0\r\n\r\n"), 413, "larger"},
		{"chunked, malformed", chunked(10, "zz\r\n"), 400, "could not be read"},
		{"utf-8", post("Content-Type: Application/JSON; charset=\"UTF-8\"\nContent-Length: 2", "{}"), 200, "2"},
		{"latin-1", post("Content-Type: application/json; charset=latin1\nContent-Length: 2", "{}"), 415, "UTF-8"},
		{"text/plain", post("Content-Type: text/plain\nContent-Length: 2", "{}"), 415, "application/json"},
		{"form", post("Content-Type: application/x-www-form-urlencoded\nContent-Length: 2", "{}"), 415, ""},
		{"no content type", post("Content-Length: 2", "{}"), 415, ""},
		{"two content types", post(json+"\n"+json+"\nContent-Length: 2", "{}"), 415, ""},
		{"malformed content type", post("Content-Type: application/json;;=\nContent-Length: 2", "{}"), 415, ""},
	}
	s := reader(t, Limits{Bytes: limit})
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status, body, closes := send(t, s, test.request)
			if status != test.status || !strings.Contains(body, test.body) || closes != (status != 200) {
				t.Errorf("%d %q, closes: %v; want %d %q", status, body, closes, test.status, test.body)
			}
		})
	}
}

// The client goes silent in the middle of the body; the limit in time is what ends it.
func TestSlowBodyIsCut(t *testing.T) {
	s := reader(t, Limits{Timeout: 50 * time.Millisecond})
	for name, request := range map[string]string{
		"declared":       post("Content-Type: application/json\nContent-Length: 100", `{"a":`),
		"declared large": post("Content-Type: application/json\nContent-Length: 1000000", `{"a":`),
		"chunked":        post("Content-Type: application/json\nTransfer-Encoding: chunked", "5\r\n{\"a\":\r\n"),
	} {
		status, body, closes := send(t, s, request)
		if status != http.StatusRequestTimeout || !closes || !strings.Contains(body, "within 50ms") {
			t.Errorf("%s: %d %q, closes: %v", name, status, body, closes)
		}
	}
}

func TestCutBodyIsRefused(t *testing.T) {
	problems := make(chan *Problem, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, p := Body(w, r, Limits{})
		problems <- p
	}))
	defer s.Close()
	for _, length := range []int{100, 1 << 20} {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, post(fmt.Sprintf("Content-Type: application/json\nContent-Length: %d", length), `{"a":1}`))
		conn.Close()
		if p := <-problems; status(p) != http.StatusBadRequest || !strings.Contains(p.Text, "shorter") {
			t.Errorf("%d: %v", length, p)
		}
	}
}

// The deadline of the body must not outlive it, or it would end the request; after a refusal it stands, so that the
// server does not wait for the rest either.
func TestDeadlineIsLifted(t *testing.T) {
	for body, lifted := range map[string]bool{"{}": true, strings.Repeat("x", 11): false} {
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		before := time.Now()
		_, p := Body(w, r, Limits{Bytes: 10, Timeout: time.Minute})
		if (p == nil) != lifted || w.set[0].Before(before.Add(time.Minute)) {
			t.Fatalf("%v, deadlines %v", p, w.set)
		}
		if last := w.set[len(w.set)-1]; last.IsZero() != lifted {
			t.Errorf("%d bytes: the deadline is %v at last", len(body), last)
		}
	}
}

// deadlines is a response that notes the read deadlines set on its connection.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (w *deadlines) SetReadDeadline(at time.Time) error { w.set = append(w.set, at); return nil }

// A writer that hides the connection would switch the limit in time off: that is refused, not ignored.
func TestWriterWithoutDeadlinesIsRefused(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("{}"))
	r.Header.Set("Content-Type", "application/json")
	if _, p := Body(httptest.NewRecorder(), r, Limits{}); status(p) != http.StatusInternalServerError {
		t.Errorf("%v", p)
	}
}

func TestADeclaredLengthAloneReservesLittle(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := readAll(strings.NewReader("{}"), 1<<30, 1<<30)
	runtime.ReadMemStats(&after)
	if err != io.ErrUnexpectedEOF || after.TotalAlloc-before.TotalAlloc > 2*eagerBytesMax {
		t.Errorf("%v, and %d bytes for a body that was only announced", err, after.TotalAlloc-before.TotalAlloc)
	}
}

func FuzzReadAll(f *testing.F) {
	f.Add(10, 10, 10, 3)
	f.Add(300_000, -1, 300_000, 1000)
	f.Add(300_000, 300_000, 400_000, 100_000)
	f.Add(5, 9, 10, 1)
	f.Fuzz(func(t *testing.T, length, declared, max, piece int) {
		if length < 0 || length > 1<<20 || declared < -1 || declared > 1<<20 || max < 1 || max > 1<<20 || declared > max {
			return
		}
		sent := length
		if declared >= 0 {
			sent = min(length, declared) // the server hands out no more than was declared
		}
		body, err := readAll(&trickle{left: sent, piece: piece&0xffff + 1}, int64(declared), int64(max))
		switch {
		case sent < declared:
			if err != io.ErrUnexpectedEOF {
				t.Errorf("%d of %d: %v", sent, declared, err)
			}
		case sent > max:
			if err != errTooLarge {
				t.Errorf("%d with a limit of %d: %v", sent, max, err)
			}
		case err != nil || len(body) != sent:
			t.Errorf("%d: got %d, %v", sent, len(body), err)
		}
	})
}

// trickle is a body of left bytes that come piece by piece.
type trickle struct{ left, piece int }

func (s *trickle) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), s.left, s.piece)
	s.left -= n
	return n, nil
}
