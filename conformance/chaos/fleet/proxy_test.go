package fleet

import (
	"io"
	"net"
	"testing"
	"time"
)

// echo is a server that says everything back.
func echo(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	return l.Addr().String()
}

// says sends a byte and reports whether it comes back in time.
func says(t *testing.T, c net.Conn, within time.Duration) bool {
	t.Helper()
	if _, err := c.Write([]byte("x")); err != nil {
		return false
	}
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err == nil
}

func TestALineIsBrokenAndMended(t *testing.T) {
	p, err := NewProxy(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	const held, patient = 5 * linePoll, 10 * time.Second
	dial := func() net.Conn {
		c, err := net.Dial("tcp", p.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	c := dial()
	if !says(t, c, patient) {
		t.Fatal("a line that is up does not pass")
	}
	for _, line := range []Line{BlackHole, HalfOpen} {
		p.Set(line)
		if says(t, c, held) {
			t.Errorf("a line that is a %s passes", line)
		}
		p.Set(Up)
		c = dial()
		if !says(t, c, patient) {
			t.Fatalf("after a %s the line is not up again", line)
		}
	}
	p.Set(Down)
	if says(t, c, patient) || says(t, dial(), patient) {
		t.Error("a line that is down passes")
	}
	p.Set(Up)
	c = dial()
	if !says(t, c, patient) {
		t.Error("the line is not up again")
	}
	p.Lead(echo(t))
	if says(t, c, patient) {
		t.Error("a connection outlives the move of its target")
	}
	if !says(t, dial(), patient) {
		t.Error("the new target is not reached")
	}
}
