package seal

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
)

func sealer(t testing.TB, fill byte) *Sealer {
	t.Helper()
	s, err := New(bytes.Repeat([]byte{fill}, KeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOpenGivesBackWhatWasSealed(t *testing.T) {
	s, restarted := sealer(t, 1), sealer(t, 1)
	for _, plain := range []string{"", "x", strings.Repeat("a long state ", 1000)} {
		text := s.Seal("task", []byte(plain))
		if strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Errorf("%q does not fit into a header", text)
		}
		for _, who := range []*Sealer{s, restarted} {
			got, err := who.Open("task", text)
			if err != nil || string(got) != plain {
				t.Errorf("Open = %q, %v; want %q", got, err, plain)
			}
		}
		if text == s.Seal("task", []byte(plain)) {
			t.Error("two seals of the same bytes are the same text")
		}
	}
}

func TestOpenRefusesWhatIsForeign(t *testing.T) {
	s := sealer(t, 1)
	text := s.Seal("task", []byte("alice's"))
	for name, c := range map[string]struct {
		with          *Sealer
		purpose, text string
	}{
		"another key":     {sealer(t, 2), "task", text},
		"another purpose": {s, "park", text},
		"cut":             {s, "task", text[:len(text)-1]},
		"longer":          {s, "task", text + "A"},
		"padded":          {s, "task", text + "="},
		"a line break":    {s, "task", text[:8] + "\n" + text[8:]},
		"empty":           {s, "task", ""},
		"short":           {s, "task", text[:8]},
		"no base64":       {s, "task", "?" + text[1:]},
		"too long":        {s, "task", strings.Repeat("A", textBytesMax+1)},
	} {
		if got, err := c.with.Open(c.purpose, c.text); !errors.Is(err, ErrForeign) || got != nil {
			t.Errorf("%s: Open = %q, %v; want ErrForeign", name, got, err)
		}
	}
	for i := range text {
		b := []byte(text)
		b[i] ^= 1
		if _, err := s.Open("task", string(b)); !errors.Is(err, ErrForeign) {
			t.Errorf("changed at %d: %v", i, err)
		}
	}
}

func TestNewWantsAWholeKey(t *testing.T) {
	for _, n := range []int{0, 16, 31, 33} {
		if _, err := New(make([]byte, n)); err == nil {
			t.Errorf("a key of %d bytes was taken", n)
		}
	}
	key := bytes.Repeat([]byte{1}, KeyBytes)
	s, _ := New(key)
	text := s.Seal("task", []byte("x"))
	clear(key)
	if _, err := s.Open("task", text); err != nil {
		t.Error("the sealer's key is its caller's to change")
	}
}

func TestSealerIsSafeForConcurrentUse(t *testing.T) {
	s := sealer(t, 1)
	var wg sync.WaitGroup
	for _, purpose := range []string{"a", "b", "a", "b"} {
		wg.Go(func() {
			for range 50 {
				if got, err := s.Open(purpose, s.Seal(purpose, []byte(purpose))); err != nil || string(got) != purpose {
					t.Errorf("Open = %q, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}

func FuzzOpen(f *testing.F) {
	s := sealer(f, 1)
	f.Add(s.Seal("task", []byte("alice's")))
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		plain, err := s.Open("task", text)
		if (err == nil) == errors.Is(err, ErrForeign) {
			t.Fatalf("Open = %q, %v", plain, err)
		}
		if err == nil && string(plain) != "alice's" { // the one text this key has sealed
			t.Fatalf("a text was opened that nobody sealed: %q", plain)
		}
	})
}
