package sse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// events reads all of r and writes each event as name|id|data, with (none) for no data, and how it ended.
func events(r *Reader) (lines []string, raw []byte, err error) {
	for {
		e, err := r.Next()
		raw = append(raw, e.Raw...)
		if err != nil && len(e.Raw) == 0 {
			return lines, raw, err
		}
		data := "(none)"
		if e.Data != nil {
			data = string(e.Data)
		}
		lines = append(lines, fmt.Sprintf("%s|%s|%s", e.Name, e.ID, data))
		if err != nil {
			return lines, raw, err
		}
	}
}

func TestReaderFollowsTheStandard(t *testing.T) {
	tests := []struct {
		name, in string
		want     []string
		err      error
	}{
		{"empty", "", nil, io.EOF},
		{"LF", "event: add\ndata: 73\nid: 1\n\ndata: x\n\n", []string{"add|1|73", "||x"}, io.EOF},
		{"CR", "event: add\rdata: 73\r\rdata: x\r\r", []string{"add||73", "||x"}, io.EOF},
		{"CRLF", "event: add\r\ndata: 73\r\n\r\ndata: x\r\n\r\n", []string{"add||73", "||x"}, io.EOF},
		{"mixed", "data: a\rdata: b\r\ndata: c\n\r\n", []string{"||a\nb\nc"}, io.EOF},
		{"several data lines", "data: YHOO\ndata: +2\ndata:\ndata: 10\n\n", []string{"||YHOO\n+2\n\n10"}, io.EOF},
		{"one space is dropped", "data:  a\ndata:b\n\n", []string{"|| a\nb"}, io.EOF},
		{"no colon", "data\n\ndata\ndata\n\n", []string{"||", "||\n"}, io.EOF},
		{"comment", ": ping\n\n", []string{"||(none)"}, io.EOF},
		{"unknown and retry", "retry: 10\nx: y\nDATA: z\n\n", []string{"||(none)"}, io.EOF},
		{"blank lines", "\n\ndata: a\n\n\n", []string{"||(none)", "||(none)", "||a", "||(none)"}, io.EOF},
		{"colon in data", "data: {\"a\":1}\n\n", []string{`||{"a":1}`}, io.EOF},
		{"last name counts", "event: a\nevent: b\ndata: x\n\n", []string{"b||x"}, io.EOF},
		{"NUL in id", "id: a\x00b\ndata: x\n\n", []string{"||x"}, io.EOF},
		{"byte order mark", "\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n", []string{"||a", "||(none)"}, io.EOF},
		{"cut after a line", "data: a\n\ndata: [DONE]\n", []string{"||a", "||[DONE]"}, io.ErrUnexpectedEOF},
		{"cut in a line", "event: a\ndata: {\"a", []string{`a||{"a`}, io.ErrUnexpectedEOF},
		{"cut in a second data line", "data: a\ndata: b", []string{"||a\nb"}, io.ErrUnexpectedEOF},
		{"cut after CR", "data: a\r", []string{"||a"}, io.ErrUnexpectedEOF},
		{"only a mark", "\xef\xbb\xbf", []string{"||(none)"}, io.ErrUnexpectedEOF},
		{"half a mark", "\xef\xbb", []string{"||(none)"}, io.ErrUnexpectedEOF},
	}
	sources := map[string]func(io.Reader) io.Reader{
		"whole":        func(r io.Reader) io.Reader { return r },
		"byte by byte": iotest.OneByteReader,
		"halves":       iotest.HalfReader,
		"data and EOF": iotest.DataErrReader,
	}
	for _, test := range tests {
		for source, of := range sources {
			got, raw, err := events(NewReader(of(strings.NewReader(test.in)), 0))
			if source == "byte by byte" && strings.HasSuffix(test.in, "\r\n") {
				got = dropLoneLF(got)
			}
			if fmt.Sprint(got) != fmt.Sprint(test.want) || err != test.err {
				t.Errorf("%s, %s: %q, %v, want %q, %v", test.name, source, got, err, test.want, test.err)
			}
			if string(raw) != test.in {
				t.Errorf("%s, %s: raw %q of %q", test.name, source, raw, test.in)
			}
		}
	}
}

// dropLoneLF takes away the last block if it is the LF of a CRLF that came late.
func dropLoneLF(lines []string) []string {
	if n := len(lines); n > 0 && lines[n-1] == "||(none)" {
		return lines[:n-1]
	}
	return lines
}

// An event that ends in CR must not wait for the byte after it.
func TestEventIsReturnedBeforeTheNextByteComes(t *testing.T) {
	for _, text := range []string{"data: a\n\n", "data: a\r\r", "data: a\r\n\r\n"} {
		src, upstream := io.Pipe()
		go func() { _, _ = io.WriteString(upstream, text) }()
		e, err := NewReader(src, 0).Next()
		if err != nil || string(e.Data) != "a" || !strings.HasPrefix(text, string(e.Raw)) {
			t.Errorf("%q: %q, %v", text, e.Raw, err)
		}
		src.Close()
	}
}

func TestLimitIsExact(t *testing.T) {
	for _, max := range []int{16, 5000, 20_000} {
		fits := "data: " + strings.Repeat("x", max-8) + "\n\n"
		for _, ahead := range []string{"", "data: y\n\n"} {
			lines, raw, err := events(NewReader(strings.NewReader(ahead+fits), max))
			if err != io.EOF || len(raw) != len(ahead+fits) {
				t.Errorf("%d after %q: %d events, %v", max, ahead, len(lines), err)
			}
			_, raw, err = events(NewReader(strings.NewReader(ahead+"x"+fits), max))
			if !errors.Is(err, ErrTooLong) || len(raw) > len(ahead)+max {
				t.Errorf("%d + 1 after %q: %v, %d bytes", max, ahead, err, len(raw))
			}
		}
	}
}

func TestErrorsOfTheStreamComeWithWhatTheyCut(t *testing.T) {
	reset := errors.New("connection reset")
	r := NewReader(io.MultiReader(strings.NewReader("data: a\n\ndata: b"), iotest.ErrReader(reset)), 0)
	if e, err := r.Next(); err != nil || string(e.Data) != "a" {
		t.Fatalf("%q, %v", e.Data, err)
	}
	if e, err := r.Next(); err != reset || string(e.Data) != "b" || string(e.Raw) != "data: b" {
		t.Fatalf("%q, %q, %v", e.Raw, e.Data, err)
	}
	if e, err := r.Next(); err != reset || e.Raw != nil {
		t.Fatalf("%q, %v", e.Raw, err)
	}
	stuck := readerFunc(func([]byte) (int, error) { return 0, nil })
	if _, err := NewReader(stuck, 0).Next(); err != io.ErrNoProgress {
		t.Fatal(err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestBufferedSaysWhetherMoreIsAtHand(t *testing.T) {
	r := NewReader(strings.NewReader("data: a\n\ndata: b\n\n"), 0)
	for _, want := range []int{9, 0} {
		if _, err := r.Next(); err != nil || r.Buffered() != want {
			t.Errorf("%d buffered, want %d (%v)", r.Buffered(), want, err)
		}
	}
}

func TestReadingAnEventDoesNotAllocate(t *testing.T) {
	chunk := []byte("event: delta\ndata: {\"choices\":[{\"delta\":{\"content\":\"word\"}}]}\n\n")
	r := NewReader(&repeated{chunk: chunk}, 0)
	if n := testing.AllocsPerRun(1000, func() {
		if e, err := r.Next(); err != nil || len(e.Raw) != len(chunk) {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// repeated is a stream of one chunk for ever.
type repeated struct {
	chunk []byte
	at    int
}

func (s *repeated) Read(p []byte) (int, error) {
	n := copy(p, s.chunk[s.at:])
	s.at = (s.at + n) % len(s.chunk)
	return n, nil
}

func TestAppendIsReadBack(t *testing.T) {
	for _, e := range []Event{
		{Data: []byte(`{"a":1}`)},
		{Name: []byte("message"), ID: []byte("7"), Data: []byte("a\nb\r\nc\rd\n")},
		{Data: []byte("")},
		{Name: []byte("ping")},
	} {
		got, err := NewReader(bytes.NewReader(Append(nil, e)), 0).Next()
		want := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(e.Data))
		if err != nil || string(got.Data) != want || (got.Data == nil) != (e.Data == nil) || !bytes.Equal(got.Name, e.Name) || !bytes.Equal(got.ID, e.ID) {
			t.Errorf("%q became %q, %v", e.Data, got.Data, err)
		}
	}
	if got := string(Append(nil, Event{Name: []byte("a\ndata: evil")})); got != "event: a\n\n" {
		t.Errorf("a line break in a name gives %q", got)
	}
}

// The raw bytes of all events are the stream, however it is cut into reads, and the events do not depend on the cuts.
func FuzzReader(f *testing.F) {
	for _, s := range []string{"", "data: a\n\n", "data: a\r\n\r\ndata: b\r\r", "\xef\xbb\xbfid:1\n\n", ":\n\n\n", "data\ndata: x\n\nevent: e", "\r\n\r", "\r\r\n\n"} {
		f.Add([]byte(s), byte(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, cut byte) {
		whole, raw, err := events(NewReader(bytes.NewReader(in), 0))
		if !bytes.Equal(raw, in) {
			t.Fatalf("raw %q of %q", raw, in)
		}
		if err != io.EOF && err != io.ErrUnexpectedEOF {
			t.Fatal(err)
		}
		pieces := &pieces{in: in, size: int(cut)%7 + 1}
		cutUp, raw, _ := events(NewReader(pieces, 0))
		if !bytes.Equal(raw, in) {
			t.Fatalf("in pieces: raw %q of %q", raw, in)
		}
		if a, b := withData(whole), withData(cutUp); a != b {
			t.Fatalf("%q: whole %q, in pieces %q", in, a, b)
		}
	})
}

func withData(lines []string) string {
	var kept []string
	for _, l := range lines {
		if !strings.HasSuffix(l, "|(none)") {
			kept = append(kept, l)
		}
	}
	return strings.Join(kept, "\n")
}

type pieces struct {
	in   []byte
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.in) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.in[:min(p.size, len(p.in))])
	p.in = p.in[n:]
	return n, nil
}

func BenchmarkNext(b *testing.B) {
	chunk := []byte(`data: {"id":"chatcmpl-123","object":"chat.completion.chunk","created":1694268190,"model":"gpt-5-mini","choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}]}` + "\n\n")
	r := NewReader(&repeated{chunk: chunk}, 0)
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}
