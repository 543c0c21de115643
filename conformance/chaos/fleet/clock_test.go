package fleet

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A process reads a clock that is moved under it, and its monotonic clock goes on as ever.
func TestTheClockOfARunningProcessIsMoved(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the standard library")
	}
	const program = `package main

import (
	"bufio"
	"fmt"
	"os"
	"time"
)

func main() {
	began := time.Now()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		now := time.Now()
		fmt.Println(now.UnixNano(), int64(now.Sub(began)))
	}
}
`
	dir := t.TempDir()
	for name, text := range map[string]string{"main.go": program, "go.mod": "module clock\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	binary, err := BuildShifted(t.Context(), dir, ".", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	clock, err := NewClock(filepath.Join(dir, "clock"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Env = []string{clock.Env()}
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil || err1 != nil || err2 != nil {
		t.Fatal(err, err1, err2)
	}
	lines := bufio.NewScanner(out)
	for _, ahead := range []time.Duration{0, time.Hour, -90 * time.Minute, -time.Nanosecond, 1500 * time.Millisecond, 0} {
		if err := clock.Set(ahead); err != nil {
			t.Fatal(err)
		}
		before := time.Now()
		if _, err := fmt.Fprintln(in); err != nil || !lines.Scan() {
			t.Fatal("the process said nothing: ", err)
		}
		after := time.Now()
		wall, monotonic, _ := strings.Cut(lines.Text(), " ")
		ns, err := strconv.ParseInt(wall, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if now := time.Unix(0, ns).Add(-ahead); now.Before(before.Round(0)) || now.After(after.Round(0)) {
			t.Errorf("ahead by %s: it says %s, it is %s", ahead, time.Unix(0, ns), before)
		}
		if n, err := strconv.ParseInt(monotonic, 10, 64); err != nil || n < 0 || n > int64(time.Minute) {
			t.Errorf("ahead by %s: %s ns have passed", ahead, monotonic)
		}
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if _, err := io.Copy(io.Discard, out); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
