package main

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	hello = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`
	ping  = `{"jsonrpc":"2.0","id":1,"method":"ping"}`
)

// talker is one `tollgate stdio` in this process.
type talker struct {
	in   *io.PipeWriter
	out  *bufio.Reader
	done chan error
}

func talk(ctx context.Context, b *bridge) *talker {
	in, feed := io.Pipe()
	out, write := io.Pipe()
	k := &talker{in: feed, out: bufio.NewReader(out), done: make(chan error, 1)}
	go func() {
		err := b.run(ctx, in, write)
		_ = write.CloseWithError(err)
		k.done <- err
	}()
	return k
}

// ask says a line and returns the next one that comes.
func (k *talker) ask(t *testing.T, line string) string {
	t.Helper()
	if _, err := io.WriteString(k.in, line+"\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := k.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// dataDir is a data directory whose path is short enough for a socket.
func dataDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "toll-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestStdioJoinsTheGatewayThatRuns(t *testing.T) {
	r := startRunning(t, "1000 calls / 1d")
	if info, err := os.Stat(r.file(stdioFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v %v", info, err)
	}
	t.Setenv(keyEnv, devKey)
	b := &bridge{config: r.path, data: r.inForce().Data, level: slog.LevelError}
	k := talk(t.Context(), b)
	if got := k.ask(t, hello); !strings.Contains(got, `"protocolVersion":"2025-11-25"`) {
		t.Error(got)
	}
	if got := k.ask(t, ping); !strings.Contains(got, `"id":1,"result"`) {
		t.Error(got)
	}
	_ = k.in.Close()
	if err := <-k.done; err != nil {
		t.Error(err)
	}

	// A signal is an end of the input, too.
	ctx, signal := context.WithCancel(t.Context())
	k = talk(ctx, b)
	k.ask(t, hello)
	signal()
	if err := <-k.done; err != nil {
		t.Error(err)
	}
}

// A gateway that stops says goodbye to those who wait for news of it, rather than waiting for them.
func TestStoppingEndsWhatOnlyWaits(t *testing.T) {
	r := startRunning(t, "1000 calls / 1d")
	t.Setenv(keyEnv, devKey)
	k := talk(t.Context(), &bridge{config: r.path, data: r.inForce().Data})
	k.ask(t, hello)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/sse", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+devKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	ctx, cancel := context.WithTimeout(t.Context(), drainTime/2)
	defer cancel()
	if err := r.close(ctx); err != nil {
		t.Error(err)
	}
	if b, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(b), "event: endpoint") {
		t.Errorf("the stream: %q %v", b, err)
	}
	if err := <-k.done; err == nil || !strings.Contains(err.Error(), "has ended the connection") {
		t.Errorf("the process says %v", err)
	}
}

// The first process is the gateway, and others join it.
func TestStdioIsTheGatewayWhereNoneRuns(t *testing.T) {
	dir := dataDir(t)
	path := filepath.Join(dir, "tollgate.yaml")
	if err := os.WriteFile(path, []byte("version: 1\nkeys: {dev: {secret: env:"+keyEnv+"}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(keyEnv, devKey)
	b := &bridge{config: path, data: filepath.Join(dir, "data"), level: slog.LevelError}
	first := talk(t.Context(), b)
	if got := first.ask(t, hello); !strings.Contains(got, `"result"`) {
		t.Fatal(got)
	}
	second := talk(t.Context(), b)
	if got := second.ask(t, hello); !strings.Contains(got, `"result"`) {
		t.Fatal(got)
	}
	_ = second.in.Close()
	if err := <-second.done; err != nil {
		t.Error(err)
	}
	third := talk(t.Context(), b)
	third.ask(t, hello)
	_ = first.in.Close()
	if err := <-first.done; err != nil {
		t.Error(err)
	}
	if err := <-third.done; err == nil {
		t.Error("a process goes on without a gateway")
	}
	// The next one is the gateway again.
	fourth := talk(t.Context(), b)
	fourth.ask(t, hello)
	_ = fourth.in.Close()
	if err := <-fourth.done; err != nil {
		t.Error(err)
	}
}

func TestStdioNeedsAShortPath(t *testing.T) {
	b := &bridge{data: filepath.Join(dataDir(t), strings.Repeat("d", socketPathBytes)), level: slog.LevelError}
	if err := <-talk(t.Context(), b).done; err == nil || !strings.Contains(err.Error(), "choose a shorter one") {
		t.Error(err)
	}
}
