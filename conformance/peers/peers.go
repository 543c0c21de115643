package peers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// stampFile holds the digest of the lists that were installed.
const stampFile = ".installed"

// Node is an installed set of npm packages with a node to run them.
type Node struct{ dir string }

// InstallNode installs what conformance/node names, node itself among it, into .cache/node below root.
func InstallNode(ctx context.Context, root string, log io.Writer) (*Node, error) {
	from, dir, err := places(root, "node")
	if err != nil {
		return nil, err
	}
	n := &Node{dir: dir}
	if err := copyFiles(dir, from); err != nil {
		return nil, err
	}
	fresh, err := once(dir, filepath.Join(from, "package.json"), filepath.Join(from, "package-lock.json"))
	if err != nil || !fresh.needed {
		return n, err
	}
	list, err := os.ReadFile(filepath.Join(from, "package.json"))
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(log, "npm: installing into %s:\n%s", dir, list)
	if err := command(ctx, dir, log, "npm", "ci", "--no-progress"); err != nil {
		return nil, err
	}
	if _, err := os.Stat(n.Binary()); err != nil {
		return nil, fmt.Errorf("the npm package node has not unpacked its binary; does npm forbid install scripts? %w", err)
	}
	return n, fresh.done()
}

// Binary is the path of the installed node.
func (n *Node) Binary() string { return filepath.Join(n.dir, "node_modules", "node", "bin", "node") }

// Server is the argv of an MCP server of an installed package, which has its program at dist/index.js.
func (n *Node) Server(pkg string, args ...string) []string {
	return append([]string{n.Binary(), filepath.Join(n.Package(pkg), "dist", "index.js")}, args...)
}

// Inspector is the argv of the Inspector's command line.
func (n *Node) Inspector(args ...string) []string {
	launcher := filepath.Join(n.Package("@modelcontextprotocol/inspector"), "clients", "launcher", "build", "index.js")
	return append([]string{n.Binary(), launcher, "--cli"}, args...)
}

// Package is the directory of an installed package.
func (n *Node) Package(pkg string) string {
	return filepath.Join(n.dir, "node_modules", filepath.FromSlash(pkg))
}

// Run runs a script of conformance/node: in goes to its standard input as JSON, its output is read into out.
func (n *Node) Run(ctx context.Context, script string, in, out any) error {
	return run(ctx, n.dir, n.Binary(), script, in, out)
}

// Python is a virtual environment.
type Python struct{ dir, scripts string }

// InstallPython makes a virtual environment in .cache/python below root and installs conformance/python's requirements,
// and further packages, into it.
func InstallPython(ctx context.Context, root string, log io.Writer, further ...Requirement) (*Python, error) {
	scripts, dir, err := places(root, "python")
	if err != nil {
		return nil, err
	}
	p := &Python{dir: dir, scripts: scripts}
	list := filepath.Join(scripts, "requirements.txt")
	fresh, err := once(dir, list)
	if err != nil {
		return nil, err
	}
	if fresh.needed {
		text, err := os.ReadFile(list)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(log, "pip: installing into %s:\n%s", dir, text)
		if err := command(ctx, dir, log, "python3", "-m", "venv", dir); err != nil {
			return nil, err
		}
		if err := command(ctx, dir, log, p.Program("pip"), "install", "-q", "--disable-pip-version-check", "-r", list); err != nil {
			return nil, err
		}
		if err := fresh.done(); err != nil {
			return nil, err
		}
	}
	for _, r := range further {
		if err := p.install(ctx, log, r); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Requirement is a package to install beside those of requirements.txt.
type Requirement struct {
	Package string   // as pip takes it: name==version
	Env     []string // for its build
	Why     string   // printed before it is installed
}

func (p *Python) install(ctx context.Context, log io.Writer, r Requirement) error {
	name, version, _ := strings.Cut(r.Package, "==")
	shown, err := exec.CommandContext(ctx, p.Program("pip"), "show", "--disable-pip-version-check", name).Output()
	if err == nil && strings.Contains(string(shown), "\nVersion: "+version+"\n") {
		return nil
	}
	fmt.Fprintf(log, "pip: installing %s into %s: %s\n", r.Package, p.dir, r.Why)
	cmd := exec.CommandContext(ctx, p.Program("pip"), "install", "--disable-pip-version-check", r.Package)
	cmd.Env = append(os.Environ(), r.Env...)
	return logged(cmd, log)
}

// Program is the path of a program of the virtual environment.
func (p *Python) Program(name string) string { return filepath.Join(p.dir, "bin", name) }

// Script is the argv of a script of conformance/python.
func (p *Python) Script(name string) []string {
	return []string{p.Program("python"), filepath.Join(p.scripts, name)}
}

// Run runs a script of conformance/python: in goes to its standard input as JSON, its output is read into out.
func (p *Python) Run(ctx context.Context, script string, in, out any) error {
	return run(ctx, p.scripts, p.Program("python"), script, in, out)
}

// places returns where the lists and scripts of a language are, and where its packages go.
func places(root, language string) (from, to string, err error) {
	root, err = filepath.Abs(root)
	if err != nil {
		return "", "", err
	}
	to = filepath.Join(root, ".cache", language)
	return filepath.Join(root, "conformance", language), to, os.MkdirAll(to, 0o755)
}

// copyFiles copies the files of from to dir, over older ones: node looks for packages beside the script it runs.
func copyFiles(dir, from string) error {
	files, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(from, f.Name()))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name()), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// freshness says whether an installation is of the lists as they are now.
type freshness struct {
	needed      bool
	stamp, want string
}

func once(dir string, lists ...string) (*freshness, error) {
	h := sha256.New()
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			return nil, err
		}
		h.Write(text)
	}
	f := &freshness{stamp: filepath.Join(dir, stampFile), want: hex.EncodeToString(h.Sum(nil))}
	have, _ := os.ReadFile(f.stamp) // not there: nothing is installed
	f.needed = string(have) != f.want
	return f, nil
}

func (f *freshness) done() error { return os.WriteFile(f.stamp, []byte(f.want), 0o644) }

func command(ctx context.Context, dir string, log io.Writer, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	return logged(cmd, log)
}

func logged(cmd *exec.Cmd, log io.Writer) error {
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return nil
}

func run(ctx context.Context, dir, interpreter, script string, in, out any) error {
	input, err := json.Marshal(in)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, interpreter, filepath.Join(dir, script))
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(input)
	cmd.Env = slices.DeleteFunc(os.Environ(), aboutModels)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", script, err, stderr.String())
	}
	if err := json.Unmarshal(output, out); err != nil {
		return fmt.Errorf("%s printed no JSON: %w\n%s", script, err, output)
	}
	return nil
}

// aboutModels reports whether a variable of the environment would lead a client library elsewhere.
func aboutModels(variable string) bool {
	return strings.HasPrefix(variable, "OPENAI_") || strings.HasPrefix(variable, "ANTHROPIC_")
}
