// Command withpostgres runs a command with a real PostgreSQL beside it, whose URL it finds in TOLLGATE_TEST_DATABASE:
//
//	withpostgres go test ./...
//
// It uses the server that the variable names already, else starts the installed one, else installs Debian's package when
// it may (as root). Where none of this can be it says so, runs the command without, and says so again at the end; under
// CI it fails instead.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/tollgate/tollgate/internal/postgrestest"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: withpostgres COMMAND [ARGUMENTS]")
		os.Exit(2)
	}
	os.Exit(run(os.Args[1:]))
}

func run(argv []string) int {
	if os.Getenv(postgrestest.Variable) != "" {
		return execute(argv, nil)
	}
	server, remove, err := start()
	if err != nil {
		without := fmt.Sprintf("\n*** WITHOUT POSTGRESQL: its tests are skipped. %v ***\n\n", err)
		fmt.Fprint(os.Stderr, without)
		if os.Getenv("CI") != "" {
			return 1
		}
		code := execute(argv, nil)
		fmt.Fprint(os.Stderr, without)
		return code
	}
	code := execute(argv, []string{postgrestest.Variable + "=" + server.URL("postgres")})
	if err := errors.Join(server.Stop(), remove()); err != nil {
		fmt.Fprintln(os.Stderr, "ending PostgreSQL:", err)
	}
	return code
}

// start starts an installed server, after it was installed if need be.
func start() (*postgrestest.Server, func() error, error) {
	if _, err := postgrestest.Binaries(); err != nil {
		if os.Getuid() != 0 {
			return nil, nil, err
		}
		if err := install(); err != nil {
			return nil, nil, errors.Join(postgrestest.ErrNotInstalled, err)
		}
	}
	dir, err := os.MkdirTemp("", "withpostgres")
	if err != nil {
		return nil, nil, err
	}
	server, err := postgrestest.New(dir)
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	return server, func() error { return os.RemoveAll(dir) }, nil
}

// install installs Debian's server. Its own cluster, which the package makes, is not started.
func install() error {
	for _, args := range [][]string{{"update", "-q"}, {"install", "-qy", "--no-install-recommends", "postgresql"}} {
		cmd := exec.Command("apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1")
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("apt-get %s: %w", args[0], err)
		}
	}
	return nil
}

// execute runs argv and passes signals on, so that whoever stops this program stops the command and the server too.
func execute(argv, env []string) int {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			_ = cmd.Process.Signal(s)
		case err := <-done:
			var exit *exec.ExitError
			switch {
			case err == nil:
				return 0
			case errors.As(err, &exit) && exit.ExitCode() > 0:
				return exit.ExitCode()
			}
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
}
