//go:build linux

package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain makes the test binary the child of its own tests: "child VERB ARGS" does VERB and exits.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "child" {
		if err := child(os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(verb string, args []string) error {
	switch verb {
	case "env":
		fmt.Println(strings.Join(os.Environ(), "\n"))
	case "args":
		fmt.Printf("%q\n", args)
	case "cat":
		_, err := io.Copy(os.Stdout, os.Stdin)
		return err
	case "files": // what is open beyond the three
		names, err := os.ReadDir("/proc/self/fd")
		for _, n := range names {
			target, _ := os.Readlink("/proc/self/fd/" + n.Name())
			fmt.Println(n.Name(), target)
		}
		return err
	case "limits":
		for _, r := range []int{unix.RLIMIT_AS, unix.RLIMIT_NOFILE, unix.RLIMIT_NPROC, unix.RLIMIT_CPU, unix.RLIMIT_FSIZE, unix.RLIMIT_CORE} {
			var l unix.Rlimit
			if err := unix.Getrlimit(r, &l); err != nil {
				return err
			}
			fmt.Println(l.Max)
		}
		set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
		fmt.Println("no_new_privs", set)
		return err
	case "stderr":
		for _, a := range args {
			fmt.Fprintln(os.Stderr, a)
		}
	case "hold": // connects to the socket in args[0] and stays, deaf to everything but SIGKILL
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
		return hold(args[0])
	case "nest": // leaves a holder in its own group behind and exits
		c := exec.Command(os.Args[0], "child", "hold", args[0])
		if err := c.Start(); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	case "parent": // a gateway with a child, to be killed
		p, err := Start(context.Background(), self("hold", args[0]))
		if err != nil {
			return err
		}
		<-p.Done()
	}
	return nil
}

func hold(socket string) error {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	if _, err := conn.Write([]byte("here\n")); err != nil {
		return err
	}
	select {}
}

// holder is the test's end of what "hold" keeps open: it ends when the process does.
type holder struct{ conn *net.UnixConn }

func listen(t *testing.T) (path string, accept func() holder) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return path, func() holder {
		conn, err := l.AcceptUnix()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if line, err := bufio.NewReader(conn).ReadString('\n'); line != "here\n" {
			t.Fatal(line, err)
		}
		return holder{conn}
	}
}

// gone waits for the process to be dead; the test's own deadline bounds the wait.
func (h holder) gone(t *testing.T) {
	t.Helper()
	if n, err := h.conn.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Fatal("the holder spoke:", n, err)
	}
}

// self runs this binary with verb. Under the race detector a program would take a second to exit.
func self(verb string, args ...string) Spec {
	return Spec{Argv: append([]string{os.Args[0], "child", verb}, args...), Env: []string{"GORACE=atexit_sleep_ms=0"}}
}

// run starts spec with verb and returns all it prints.
func run(t *testing.T, spec Spec, verb string, args ...string) string {
	t.Helper()
	me := self(verb, args...)
	spec.Argv, spec.Env = me.Argv, append(spec.Env, me.Env...)
	p, err := Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	_ = p.Stdin.Close()
	out, err := io.ReadAll(p.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestChildSeesOnlyDeclaredEnvironment(t *testing.T) {
	t.Setenv("GATEWAY_SECRET", "canary")
	t.Setenv("LANG", "de_DE.UTF-8")
	got := strings.Fields(run(t, Spec{Env: []string{"TOKEN=a=b", "LANG=C"}}, "env"))
	var names []string
	for _, v := range got {
		name, value, _ := strings.Cut(v, "=")
		names = append(names, name)
		switch name {
		case "TOKEN":
			if value != "a=b" {
				t.Errorf("TOKEN is %q", value)
			}
		case "LANG":
			if value != "C" {
				t.Errorf("the declared LANG lost against %q", value)
			}
		case "HOME":
			if value == os.Getenv("HOME") || value == "" {
				t.Errorf("HOME is the gateway's: %q", value)
			}
			if _, err := os.Stat(value); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the home outlives the child: %v", err)
			}
		}
	}
	slices.Sort(names)
	if want := []string{"GORACE", "HOME", "LANG", "PATH", "TOKEN"}; !slices.Equal(names, want) {
		t.Errorf("the child sees %q, want %q", names, want)
	}
}

func TestArgumentsAreTakenLiterally(t *testing.T) {
	args := []string{"a; touch x", "$(id)", "`id`", "| cat", "*", "", "two\nlines", "'\""}
	if got, want := run(t, Spec{}, "args", args...), fmt.Sprintf("%q\n", args); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestChildInheritsNoFiles(t *testing.T) {
	// A file that a careless parent of the gateway left open for it.
	const first = 100
	fd, err := unix.FcntlInt(os.Stderr.Fd(), unix.F_DUPFD, first)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for line := range strings.Lines(run(t, Spec{}, "files")) {
		number, target, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.Atoi(number)
		if err == nil && n >= first { // below are files of the child's own runtime
			t.Errorf("file %d is open: %s", n, target)
		}
	}
}

func TestLimitsHoldFromTheFirstInstruction(t *testing.T) {
	got := run(t, Spec{Limits: Limits{MemoryBytes: 8 << 30, OpenFiles: 64, Processes: 5000, CPUSeconds: 60, FileBytes: 1 << 20}}, "limits")
	if want := "8589934592\n64\n5000\n60\n1048576\n0\nno_new_privs 1\n"; got != want {
		t.Errorf("limits in the child:\n%swant\n%s", got, want)
	}
}

func TestLimitsHoldWherePtraceIsForbidden(t *testing.T) {
	path, accept := listen(t)
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	cmd := &exec.Cmd{Path: os.Args[0], Args: []string{os.Args[0], "child", "hold", path}}
	if err := startUntraced(cmd, Limits{OpenFiles: 64}); err != nil {
		t.Fatal(err)
	}
	h := accept()
	var l unix.Rlimit
	if err := unix.Prlimit(cmd.Process.Pid, unix.RLIMIT_NOFILE, nil, &l); err != nil || l.Max != 64 {
		t.Errorf("limit %d, %v", l.Max, err)
	}
	killGroup(cmd.Process.Pid)
	h.gone(t)
	_ = cmd.Wait()
}

func TestStartRefuses(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	for _, c := range []struct {
		name string
		spec Spec
		want string
	}{
		{"nothing", Spec{}, "argv is empty"},
		{"an unknown program", Spec{Argv: []string{"no-such-program"}}, "not in PATH"},
		{"a program outside the declared PATH", Spec{Argv: []string{"sh"}, Env: []string{"PATH=/nowhere"}}, "not in PATH"},
		{"a program in a relative PATH", Spec{Argv: []string{"sh"}, Env: []string{"PATH=../../../../../../bin"}}, "not in PATH"},
		{"a missing directory", Spec{Argv: []string{os.Args[0]}, Dir: "/no/such/dir"}, "no such file"},
		{"a variable without a value", Spec{Argv: []string{os.Args[0]}, Env: []string{"SECRETVALUE"}}, "NAME=value"},
		{"a file that is no program", Spec{Argv: []string{"/etc/passwd"}}, "permission"},
	} {
		p, err := Start(t.Context(), c.spec)
		if err == nil {
			p.Stop(t.Context())
			t.Errorf("%s: started", c.name)
			continue
		}
		if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "SECRETVALUE") {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, Spec{Argv: []string{os.Args[0]}}); !errors.Is(err, context.Canceled) {
		t.Errorf("under a dead context: %v", err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("homes are left: %v, %v", left, err)
	}
}

func TestRelativeProgramIsTheGateways(t *testing.T) {
	dir, name := filepath.Split(os.Args[0])
	t.Chdir(dir)
	p, err := Start(t.Context(), Spec{Argv: []string{"./" + name, "child", "args"}, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Stdout.Close() }()
	<-p.Done() // it ends by itself
	if err := p.Err(); err != nil {
		t.Error(err)
	}
}

func TestStopGoesFromEndOfInputToKill(t *testing.T) {
	t.Run("end of input is enough", func(t *testing.T) {
		p, err := Start(t.Context(), self("cat"))
		if err != nil {
			t.Fatal(err)
		}
		p.Stop(t.Context())
		if err := p.Err(); err != nil {
			t.Errorf("cat ended with %v", err)
		}
		p.Stop(t.Context())
	})
	t.Run("a deaf child is killed when ctx ends", func(t *testing.T) {
		path, accept := listen(t)
		p, err := Start(t.Context(), self("hold", path))
		if err != nil {
			t.Fatal(err)
		}
		h := accept()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		p.Stop(ctx)
		h.gone(t)
		var exit *exec.ExitError
		if !errors.As(p.Err(), &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Errorf("it ended with %v, want SIGKILL", p.Err())
		}
	})
	t.Run("the end of Start's context kills", func(t *testing.T) {
		path, accept := listen(t)
		ctx, cancel := context.WithCancel(t.Context())
		p, err := Start(ctx, self("hold", path))
		if err != nil {
			t.Fatal(err)
		}
		h := accept()
		cancel()
		h.gone(t)
		<-p.Done()
	})
}

func TestGroupDiesWithItsLeader(t *testing.T) {
	path, accept := listen(t)
	p, err := Start(t.Context(), self("nest", path))
	if err != nil {
		t.Fatal(err)
	}
	h := accept()
	_ = p.Stdin.Close() // the leader exits by itself; its child ignores all but SIGKILL
	h.gone(t)
	<-p.Done()
	if err := p.Err(); err != nil {
		t.Error(err)
	}
}

func TestChildDiesWithGateway(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the death signal is Linux's")
	}
	path, accept := listen(t)
	gateway := exec.Command(os.Args[0], "child", "parent", path)
	if err := gateway.Start(); err != nil {
		t.Fatal(err)
	}
	h := accept()
	if err := gateway.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = gateway.Wait()
	h.gone(t)
}

func TestManyStartsLeaveNothing(t *testing.T) {
	const starts = 200
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	for range starts / 4 {
		var batch []*Process
		for range 4 {
			p, err := Start(context.Background(), self("cat"))
			if err != nil {
				t.Fatal(err)
			}
			batch = append(batch, p)
		}
		for _, p := range batch {
			if _, err := p.Stdin.WriteString("hello"); err != nil {
				t.Fatal(err)
			}
			p.Stop(context.Background())
			if out, err := io.ReadAll(p.Stdout); string(out) != "hello" || err != nil {
				t.Fatalf("read %q, %v", out, err)
			}
			_ = p.Stdout.Close()
			if err := unix.Kill(p.PID(), 0); !errors.Is(err, unix.ESRCH) {
				t.Fatalf("process %d is still there: %v", p.PID(), err)
			}
		}
	}
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); { // the last steps of a goroutine come after what it announces
		if runtime.NumGoroutine() <= goroutines {
			break
		}
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); n > goroutines {
		t.Errorf("%d goroutines, %d before", n, goroutines)
	}
	if n := openFiles(t); n > files {
		t.Errorf("%d open files, %d before", n, files)
	}
	if _, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); !errors.Is(err, unix.ECHILD) {
		t.Errorf("children are left: %v", err)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

func TestStandardErrorReachesLogWithoutSecrets(t *testing.T) {
	var buf bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&buf, nil))
	run(t, Spec{Log: log, Secrets: []string{"hunter22-canary", "abc"}}, "stderr", "ready abc", "token hunter22-canary!", "bad \xff byte")
	for _, want := range []string{`"line":"ready abc"`, `"line":"token [redacted]!"`, "bad \uFFFD byte"} {
		if !strings.Contains(buf.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, buf.String())
		}
	}
}

func TestLineLogBounds(t *testing.T) {
	logged := func(in string, secrets ...string) string {
		var buf bytes.Buffer
		newLineLog(slog.New(slog.NewTextHandler(&buf, nil)), secrets).copy(strings.NewReader(in))
		return buf.String()
	}
	t.Run("a secret cut by the line limit does not show its first half", func(t *testing.T) {
		secret := strings.Repeat("s3cr3t", 10)
		for pad := lineBytesMax - len(secret) - 1; pad < lineBytesMax+2*len(secret); pad++ {
			if out := logged(strings.Repeat("x", pad)+secret+strings.Repeat("y", 100)+"\nnext\n", secret); strings.Contains(out, "s3cr3t") || !strings.Contains(out, "next") {
				t.Fatalf("padding %d: %s", pad, out[max(0, len(out)-200):])
			}
		}
	})
	t.Run("each line of a key is hidden", func(t *testing.T) {
		if out := logged("got line-two-of-it\n", "line-one-of-it\nline-two-of-it"); strings.Contains(out, "line-two") {
			t.Error(out)
		}
	})
	t.Run("a flood is counted, not logged", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, w := io.Pipe()
			var buf bytes.Buffer
			done := make(chan struct{})
			go func() {
				defer close(done)
				newLineLog(slog.New(slog.NewTextHandler(&buf, nil)), nil).copy(r)
			}()
			_, _ = io.WriteString(w, strings.Repeat("flood\n", linesBurst+50))
			time.Sleep(time.Second) // the bubble's clock
			_, _ = io.WriteString(w, "after\n")
			_ = w.Close()
			<-done
			if n := strings.Count(buf.String(), "line=flood"); n != linesBurst {
				t.Errorf("%d lines logged, want %d", n, linesBurst)
			}
			if !strings.Contains(buf.String(), "lines=50") || !strings.Contains(buf.String(), "line=after") {
				t.Error(buf.String()[len(buf.String())-300:])
			}
		})
	})
}
