package wire

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// read takes a message that arrives in pieces of the given size and returns its body.
func read(t *testing.T, message string, piece int) (Head, string, error) {
	t.Helper()
	var (
		buf  []byte
		body *Body
		head Head
		out  strings.Builder
	)
	for at := 0; at < len(message); at += piece {
		buf = append(buf, message[at:min(at+piece, len(message))]...)
		if body == nil {
			h, n, err := ParseHead(buf)
			if err != nil {
				return h, "", err
			}
			if n == 0 {
				continue
			}
			head = h
			head.First, head.Second = bytes.Clone(h.First), bytes.Clone(h.Second)
			b := NewBody(&h)
			body, buf = &b, buf[n:]
		}
		for {
			data, n, err := body.Next(buf)
			if err != nil {
				return head, out.String(), err
			}
			out.Write(data)
			if buf = buf[n:]; n == 0 {
				break
			}
		}
	}
	if body == nil || !body.Done() {
		return head, out.String(), fmt.Errorf("not whole after %d bytes", len(message))
	}
	if len(buf) != 0 {
		return head, out.String(), fmt.Errorf("%d bytes left over", len(buf))
	}
	return head, out.String(), nil
}

func TestMessagesArriveInPiecesOfAnySize(t *testing.T) {
	tests := []struct{ name, message, first, second, body string }{
		{"fixed", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1", "200", "hello"},
		{"no body", "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1", "202", ""},
		{"request", "POST /mcp HTTP/1.1\r\nHost: a\r\nCONTENT-LENGTH:2\r\n\r\n{}", "POST", "/mcp", "{}"},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n, world!!!\r\n0\r\n\r\n", "HTTP/1.1", "200", "hello, world!!!"},
		{"trailer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nA: b\r\n\r\n", "HTTP/1.1", "200", "x"},
	}
	for _, tt := range tests {
		for _, piece := range []int{1, 2, 3, 7, 1000} {
			t.Run(fmt.Sprintf("%s/%d", tt.name, piece), func(t *testing.T) {
				h, body, err := read(t, tt.message, piece)
				if err != nil || body != tt.body || string(h.First) != tt.first || string(h.Second) != tt.second {
					t.Errorf("got %q %q %q, %v", h.First, h.Second, body, err)
				}
			})
		}
	}
}

func TestWhatIsNoHTTPIsRefused(t *testing.T) {
	for _, message := range []string{
		"garbage\r\n\r\n",
		"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n",
	} {
		if _, _, err := read(t, message, 4); err == nil {
			t.Errorf("%q was read", message)
		}
	}
}

func TestAppendChunkIsReadBack(t *testing.T) {
	b := []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	b = AppendChunk(b, []byte(strings.Repeat("a", 300)))
	b = append(AppendChunk(b, []byte("b")), LastChunk...)
	_, body, err := read(t, string(b), 16)
	if err != nil || body != strings.Repeat("a", 300)+"b" {
		t.Errorf("got %q, %v", body, err)
	}
}

func FuzzBody(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"))
	f.Add([]byte("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"))
	f.Fuzz(func(t *testing.T, in []byte) {
		h, n, err := ParseHead(in)
		if err != nil || n == 0 {
			return
		}
		b := NewBody(&h)
		for in = in[n:]; ; {
			data, n, err := b.Next(in)
			if err != nil || n == 0 {
				return
			}
			if len(data) > n || n > len(in) {
				t.Fatalf("took %d of %d bytes for %d bytes of data", n, len(in), len(data))
			}
			in = in[n:]
		}
	})
}
