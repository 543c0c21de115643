package postgrestest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// startTime bounds a start and a stop: a machine under load takes a while.
const startTime = 60 * time.Second

// Server is a PostgreSQL of one's own, on loopback. Its methods are for one goroutine at a time.
type Server struct {
	bin  string // directory of the binaries
	dir  string
	port int
	who  *syscall.Credential // nil: as ourselves
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	log  string
}

// ErrNotInstalled means that no PostgreSQL server is installed.
var ErrNotInstalled = errors.New("no PostgreSQL server is installed: apt install postgresql, or name one in TOLLGATE_TEST_DATABASE")

// Binaries returns the directory of the newest installed server.
func Binaries() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	slices.SortFunc(found, func(a, b string) int { return versionOf(b) - versionOf(a) })
	if len(found) > 0 {
		return filepath.Dir(found[0]), nil
	}
	path, err := exec.LookPath("postgres")
	if err != nil {
		return "", ErrNotInstalled
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", err
	}
	return filepath.Dir(path), nil
}

func versionOf(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}

// New makes a database directory below dir, which must be empty or missing, and starts a server on it. settings are lines
// of postgresql.conf beyond those that tests want (no sync of the data directory's files is forced: pass "fsync=on").
func New(dir string, settings ...string) (*Server, error) {
	s, err := prepare(dir)
	if err != nil {
		return nil, err
	}
	if out, err := s.command("initdb", "-D", s.dir, "-U", "tollgate", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	if err := s.configure(settings); err != nil {
		return nil, err
	}
	return s, s.Start()
}

func prepare(dir string) (*Server, error) {
	bin, err := Binaries()
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, dir: filepath.Join(dir, "pgdata"), port: port, log: filepath.Join(dir, "postgres.log")}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	if os.Getuid() != 0 {
		return s, nil
	}
	// The server refuses to run as root. The directories above must let the other user through.
	if s.who, err = unprivileged(); err != nil {
		return nil, err
	}
	if err := os.Chown(s.dir, int(s.who.Uid), int(s.who.Gid)); err != nil {
		return nil, err
	}
	return s, os.Chmod(dir, 0o711)
}

func unprivileged() (*syscall.Credential, error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody")
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (s *Server) configure(settings []string) error {
	lines := append([]string{
		"listen_addresses = '127.0.0.1'", "port = " + strconv.Itoa(s.port), "unix_socket_directories = ''",
		"max_connections = 200", "fsync = off", "shared_buffers = 64MB", "log_min_messages = warning", "deadlock_timeout = 50ms", "timezone = 'UTC'",
	}, settings...)
	return s.append(lines)
}

// append adds lines to postgresql.conf; of settings that stand twice the last counts.
func (s *Server) append(lines []string) error {
	f, err := os.OpenFile(filepath.Join(s.dir, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("\n" + strings.Join(lines, "\n") + "\n")
	return errors.Join(err, f.Close())
}

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.who, Setpgid: true}
	cmd.Env = []string{"PATH=" + s.bin + ":" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	return cmd
}

// Start starts the server, which must not run, and returns when it answers.
func (s *Server) Start() error {
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = s.command("postgres", "-D", s.dir)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait() // the log says why
		close(done)
	}(s.cmd, s.done)
	return s.answers()
}

func (s *Server) answers() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	for {
		if exec.CommandContext(ctx, filepath.Join(s.bin, "pg_isready"), "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(s.port)).Run() == nil {
			return nil
		}
		select {
		case <-s.done:
			text, _ := os.ReadFile(s.log)
			return fmt.Errorf("PostgreSQL ended at once: %s", bytes.TrimSpace(text))
		case <-ctx.Done():
			return errors.Join(errors.New("PostgreSQL does not answer"), s.Kill())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop ends the server cleanly, cutting its connections.
func (s *Server) Stop() error {
	if s.cmd == nil {
		return nil
	}
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-s.done:
		s.cmd = nil
		return nil
	case <-time.After(startTime):
		return errors.Join(errors.New("PostgreSQL does not stop"), s.Kill())
	}
}

// Kill ends the server and all its processes as a crash does. What was committed is there after the next Start.
func (s *Server) Kill() error {
	if s.cmd == nil {
		return nil
	}
	all := children(s.cmd.Process.Pid) // each has a group of its own
	err := syscall.Kill(s.cmd.Process.Pid, syscall.SIGKILL)
	<-s.done
	s.cmd = nil
	for _, pid := range all {
		_ = syscall.Kill(pid, syscall.SIGKILL) // some have ended by themselves
	}
	// Until the last is gone a new server finds their memory in use.
	for until := time.Now().Add(startTime); slices.ContainsFunc(all, running) && time.Now().Before(until); {
		time.Sleep(5 * time.Millisecond)
	}
	if errors.Is(err, syscall.ESRCH) {
		err = nil
	}
	return err
}

// children lists the processes that one has started.
func children(parent int) (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range files {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if of, _ := stat(pid); of == parent {
			pids = append(pids, pid)
		}
	}
	return pids
}

// running reports whether there is such a process, and not only its exit status.
func running(pid int) bool {
	_, state := stat(pid)
	return state != "" && state != "Z"
}

// stat reads whose child a process is, and its state.
func stat(pid int) (parent int, state string) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, ""
	}
	_, rest, _ := strings.Cut(string(text), ") ") // behind the name
	fields := strings.Fields(rest)
	if len(fields) < 2 {
		return 0, ""
	}
	parent, _ = strconv.Atoi(fields[1])
	return parent, fields[0]
}

// Addr is where the server listens.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL is that of one of the server's databases; "postgres" is there from the beginning.
func (s *Server) URL(database string) string {
	return "postgres://tollgate@" + s.Addr() + "/" + database + "?sslmode=disable"
}
