package launch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Config is what a gateway is started with.
type Config struct {
	Binary   string            // path of tollgate
	Dir      string            // where the config file, the policies and the ledger go; must be empty or of an earlier run
	YAML     string            // the config file without version, listen, admin, data and policies
	Policies map[string]string // policy files by name
	Env      []string          // added to the environment: the secrets that YAML refers to
	Flags    []string          // of serve, beside --config
	Log      io.Writer         // gets all that the gateway prints; nil: only its end is kept
}

// Gateway is a running tollgate.
type Gateway struct {
	*Process
	Addr  string // host:port of the listener for agents
	Admin string // host:port of the admin listener

	cfg  Config
	file string
}

// URL is where agents send requests to.
func (g *Gateway) URL() string { return "http://" + g.Addr }

// Stdio is the argv by which a client spawns its way to the gateway; the key goes into its environment as TOLLGATE_KEY.
func (g *Gateway) Stdio() []string { return []string{g.cfg.Binary, "stdio", "--config", g.file} }

// Start writes the config, starts the gateway on addresses that it chooses and waits until it may take traffic.
func Start(ctx context.Context, cfg Config) (*Gateway, error) {
	g := &Gateway{cfg: cfg, file: filepath.Join(cfg.Dir, "tollgate.yaml")}
	if err := g.write(); err != nil {
		return nil, fmt.Errorf("writing the gateway's config: %w", err)
	}
	var err error
	if cfg.Log == nil {
		cfg.Log = io.Discard
	}
	if g.Process, err = RunLogged(cfg.Log, cfg.Dir, cfg.Env, cfg.Binary, append([]string{"serve", "--config", g.file}, cfg.Flags...)...); err != nil {
		return nil, err
	}
	if err := g.wait(ctx, "serving", func(context.Context) bool { return g.readAddresses() }); err != nil {
		return nil, errors.Join(err, g.Stop())
	}
	if err := g.Ready(ctx, g.URL()+"/readyz"); err != nil {
		return nil, errors.Join(err, g.Stop())
	}
	return g, nil
}

// Connected waits until the gateway is connected to all its servers.
func (g *Gateway) Connected(ctx context.Context) error {
	return g.wait(ctx, "connected to all its servers", func(ctx context.Context) bool {
		var health struct{ Servers []struct{ State string } }
		if err := fetch(ctx, g.URL()+"/readyz", &health); err != nil {
			return false
		}
		for _, s := range health.Servers {
			if s.State != "ready" {
				return false
			}
		}
		return true
	})
}

// fetch reads the JSON at url.
func fetch(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(into)
}

// readAddresses reads from the log where the gateway listens, and reports whether it says so.
func (g *Gateway) readAddresses() bool {
	for line := range strings.Lines(g.Log()) {
		var said struct{ Msg, Agents, Admin string }
		if json.Unmarshal([]byte(line), &said) == nil && said.Msg == "serving" {
			g.Addr, g.Admin = said.Agents, said.Admin
			return true
		}
	}
	return false
}

func (g *Gateway) write() error {
	policies := filepath.Join(g.cfg.Dir, "policies")
	if err := os.MkdirAll(policies, 0o755); err != nil {
		return err
	}
	for name, text := range g.cfg.Policies {
		if err := os.WriteFile(filepath.Join(policies, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	const head = "version: 1\nlisten: 127.0.0.1:0\nadmin: {listen: \"127.0.0.1:0\"}\ndata: ./data\npolicies: ./policies\n"
	return os.WriteFile(g.file, []byte(head+g.cfg.YAML), 0o600)
}

// Reload has the gateway take another config, as Config.YAML, and waits until it is in force.
func (g *Gateway) Reload(ctx context.Context, yaml string) error {
	const done = `"msg":"reloaded"`
	before := strings.Count(g.Log(), done)
	g.cfg.YAML = yaml
	if err := g.write(); err != nil {
		return fmt.Errorf("writing the gateway's config: %w", err)
	}
	return g.wait(ctx, "with its new config", func(context.Context) bool { return strings.Count(g.Log(), done) > before })
}

// Command runs the binary's own command, such as "audit", "query", with the gateway's config and returns what it printed.
func (g *Gateway) Command(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, g.cfg.Binary, append(args, "--config", g.file)...)
	cmd.Dir = g.cfg.Dir
	cmd.Env = append(os.Environ(), g.cfg.Env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("tollgate %s: %w\n%s%s", strings.Join(args, " "), err, stderr.String(), out)
	}
	return out, nil
}
