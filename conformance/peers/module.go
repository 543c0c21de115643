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
