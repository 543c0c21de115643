package peers

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// InstallModule installs a Go program by its path and version ("example.com/tool@v1.2.3") into .cache/go below root and
// returns where it is. Its module is not one of this module's dependencies.
func InstallModule(ctx context.Context, root string, log io.Writer, module string) (string, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	pkg, _, ok := strings.Cut(module, "@")
	if !ok {
		return "", fmt.Errorf("%s names no version", module)
	}
	dir := filepath.Join(root, ".cache", "go", filepath.FromSlash(module))
	program := filepath.Join(dir, path.Base(pkg))
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	fmt.Fprintf(log, "go: installing %s into %s\n", module, dir)
	cmd := exec.CommandContext(ctx, "go", "install", module)
	cmd.Dir, cmd.Env = os.TempDir(), append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	return program, logged(cmd, log)
}

// Build builds a program of this module into .cache/go below root and returns where it is.
func Build(ctx context.Context, root string, log io.Writer, pkg string) (string, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	program := filepath.Join(root, ".cache", "go", path.Base(pkg))
	return program, command(ctx, root, log, "go", "build", "-o", program, pkg)
}

// BuildModule builds the program of a module that lies in dir, below root and apart from this one, into .cache/go and
// returns where it is.
func BuildModule(ctx context.Context, root string, log io.Writer, dir string) (string, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	program := filepath.Join(root, ".cache", "go", path.Base(dir))
	fmt.Fprintf(log, "go: building %s into %s\n", dir, program)
	return program, command(ctx, filepath.Join(root, dir), log, "go", "build", "-o", program, ".")
}

// Debian is where a program of a Debian package is, which is installed when it is missing and this user may.
func Debian(ctx context.Context, log io.Writer, program string, packages ...string) (string, error) {
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	fmt.Fprintf(log, "apt: installing %s\n", strings.Join(packages, " "))
	if err := command(ctx, os.TempDir(), log, "apt-get", append([]string{"install", "-y", "-qq", "--no-install-recommends"}, packages...)...); err != nil {
		return "", fmt.Errorf("%s is not there and cannot be installed: %w", program, err)
	}
	return program, nil
}
