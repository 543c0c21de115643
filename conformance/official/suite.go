package official

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Role is the side that is tested.
type Role string

// The roles of what is tested.
const (
	Server Role = "server"
	Client Role = "client"
)

// Suite is the installed suite.
type Suite struct {
	Command []string // its argv: a node and its program
	Package string   // the directory of the npm package
}

// requirements is one file of the suite that says which scenarios a revision requires.
type requirements struct {
	Server    []string `yaml:"server"`
	Client    []string `yaml:"client"`
	NotScored []struct {
		Scenario string `yaml:"scenario"`
		Leg      Role   `yaml:"leg"`
	} `yaml:"not_scored"`
}

// Required lists the scenarios that count for a revision in a role.
func (s *Suite) Required(revision string, role Role) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(s.Package, "requirements", revision+".yaml"))
	if err != nil {
		return nil, err
	}
	var r requirements
	if err := yaml.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("requirements of %s: %w", revision, err)
	}
	if role == Server {
		return r.Server, nil
	}
	return r.Client, nil
}

// Run runs all scenarios of a revision in a role: target is the URL of the server, or the command that drives the client.
// env is added to the suite's environment, which the command inherits. What it leaves goes to a new directory below dir.
func (s *Suite) Run(ctx context.Context, role Role, revision, target, dir string, env ...string) (*Report, error) {
	required, err := s.Required(revision, role)
	if err != nil {
		return nil, err
	}
	option := map[Role]string{Server: "--url", Client: "--command"}[role]
	return s.run(ctx, dir, required, env, string(role), option, target, "--requirements", revision)
}

// Scenarios runs some scenarios of a revision, those of extensions too, one after the other, against a server at url; all of
// them count.
func (s *Suite) Scenarios(ctx context.Context, revision, url, dir string, names ...string) (*Report, error) {
	all := &Report{}
	for _, name := range names {
		r, err := s.run(ctx, dir, []string{name}, nil, string(Server), "--url", url, "--scenario", name, "--spec-version", revision, "--force")
		if err != nil {
			return nil, err
		}
		all.Scenarios = append(all.Scenarios, r.Scenarios...)
	}
	return all, nil
}

// run runs the suite with args and reads what it left in a new directory below dir.
func (s *Suite) run(ctx context.Context, dir string, required, env []string, args ...string) (*Report, error) {
	out, err := os.MkdirTemp(dir, "checks-")
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, s.Command[0], slices.Concat(s.Command[1:], args, []string{"-o", out})...)
	cmd.Env = append(os.Environ(), env...)
	var printed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &printed
	// Its status says that a scenario failed, which is read from what it left; anything else is an error of the run itself.
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		return nil, err
	}
	r, err := read(out, required)
	if err != nil {
		return nil, fmt.Errorf("%w; the suite printed:\n%s", err, printed.String())
	}
	return r, nil
}

// check is one entry of a scenario's checks.json.
type check struct {
	ID           string `json:"id"`
	Status       string `json:"status"`
	ErrorMessage string `json:"errorMessage"`
}

// leftIn matches the directory that a run of a scenario leaves its checks in, named after it and the time.
var leftIn = regexp.MustCompile(`^(?:server-)?(.+)-\d{4}-\d{2}-\d{2}T[0-9-]+Z$`)

// read reads the checks that were left below out. A required scenario that left none has failed.
func read(out string, required []string) (*Report, error) {
	r := &Report{}
	err := filepath.WalkDir(out, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "checks.json" {
			return err
		}
		rel, err := filepath.Rel(out, filepath.Dir(p))
		if err != nil {
			return err
		}
		m := leftIn.FindStringSubmatch(filepath.ToSlash(rel))
		if m == nil {
			return fmt.Errorf("the suite left checks in %s, which names no scenario", rel)
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		var checks []check
		if err := json.Unmarshal(text, &checks); err != nil {
			return fmt.Errorf("%s: %w", rel, err)
		}
		r.Scenarios = append(r.Scenarios, judged(m[1], slices.Contains(required, m[1]), checks))
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(r.Scenarios) == 0 {
		return nil, errors.New("no scenario was run")
	}
	for _, name := range required {
		if !slices.ContainsFunc(r.Scenarios, func(s Scenario) bool { return s.Name == name }) {
			r.Scenarios = append(r.Scenarios, Scenario{Name: name, Scored: true, Failures: []string{"it was not run"}})
		}
	}
	slices.SortFunc(r.Scenarios, func(a, b Scenario) int { return strings.Compare(a.Name, b.Name) })
	return r, nil
}
