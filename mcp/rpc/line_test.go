package rpc

import (
	"bufio"
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadLine(t *testing.T) {
	in := bufio.NewReaderSize(strings.NewReader("a\n\r\nb\r\n"+strings.Repeat("x", 100)+"\nlast"), 16)
	for _, want := range []string{"a", "", "b", strings.Repeat("x", 100), "last"} {
		got, err := ReadLine(in, 101)
		if string(got) != want || (err != nil) != (want == "last") {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	if _, err := ReadLine(bufio.NewReaderSize(strings.NewReader(strings.Repeat("x", 100)), 16), 99); !errors.Is(err, ErrLineTooLong) {
		t.Errorf("a line beyond the bound: %v", err)
	}
}

// FuzzLines holds that lines come as they are in the stream, however it is cut into reads.
func FuzzLines(f *testing.F) {
	f.Add([]byte("{\"jsonrpc\":\"2.0\"}\n\r\nbanner\r\n"))
	f.Add([]byte(strings.Repeat("x", 70) + "\nlast"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		in := bufio.NewReaderSize(iotest.OneByteReader(bytes.NewReader(stream)), 16)
		for want := range bytes.SplitSeq(stream, []byte("\n")) {
			got, err := ReadLine(in, 64)
			if errors.Is(err, ErrLineTooLong) {
				if len(want) < 64 {
					t.Errorf("%q is too long", want)
				}
				_ = SkipLine(in)
				continue
			}
			if !bytes.Equal(got, bytes.TrimSuffix(want, []byte("\r"))) {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		if rest, err := ReadLine(in, 64); len(rest) > 0 || err == nil {
			t.Errorf("behind the end: %q, %v", rest, err)
		}
	})
}

func TestAppendLine(t *testing.T) {
	for msg, want := range map[string]string{"": "\n", "{}": "{}\n", "{\r\n\"a\":\n1}\n": "{\"a\":1}\n"} {
		if got := string(AppendLine(nil, []byte(msg))); got != want {
			t.Errorf("%q is the line %q, want %q", msg, got, want)
		}
	}
}
