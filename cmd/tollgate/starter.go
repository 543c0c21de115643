package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tollgate/tollgate/cmd/tollgate/settings"
	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/internal/redact"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/llm/demo"
	"github.com/tollgate/tollgate/llm/price"
	"github.com/tollgate/tollgate/llm/vendor"
	"github.com/tollgate/tollgate/mcp"
	"github.com/tollgate/tollgate/oauth"
	"github.com/tollgate/tollgate/policy"
)

// What the starter is made of.
const (
	starterKey    = "starter"
	starterLimit  = "5 USD / 1d" // a real provider's key may be in the environment: the first day must not be a surprise
	starterRules  = `{version: 1, rules: [{id: starter, effect: allow, tools: ["*"], models: ["*"]}]}`
	demoName      = "demo"
	demoPace      = 20 * time.Millisecond
	probeTime     = 2 * time.Second  // for a local model server to answer
	toolsTime     = 10 * time.Second // for the demo tools to be listed, before the starter says so and goes on
	toolsPoll     = 20 * time.Millisecond
	keyFile       = "starter.key"
	starterConfig = "there is no config file: this is the starter, for this machine only"
)

// starterOptions are the flags of serve that count without a config file.
type starterOptions struct {
	listen string
	admin  string
	data   string
	search string

	chosen string // data as the flag said it; empty: not at all
}

func (st *starterOptions) flags(c *cobra.Command) {
	c.Flags().StringVar(&st.listen, "starter-listen", settings.DefaultListen, "without a config file: the loopback `ADDRESS` to listen on; port 0 takes a free one")
	c.Flags().StringVar(&st.admin, "starter-admin", settings.DefaultAdmin, "without a config file: the loopback `ADDRESS` of metrics and the admin API, or off")
	c.Flags().StringVar(&st.data, "starter-data", "", "without a config file: the data `DIR` (default: tollgate under the XDG state directory)")
	c.Flags().StringVar(&st.search, "starter-search", ".", "without a config file: the `DIR` that the demo tools may search")
}

// stateDir is where the starter keeps its data.
func stateDir() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "tollgate"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("there is no home directory to keep data in: set HOME, or name one with --starter-data DIR: %w", err)
	}
	return filepath.Join(home, ".local", "state", "tollgate"), nil
}

// serveStarter runs a gateway without a config file until ctx ends, and tells the person at the terminal what it does.
func serveStarter(ctx context.Context, out io.Writer, st starterOptions, log *slog.Logger, mask *redact.Mask) (err error) {
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	say("%s.\n", starterConfig)
	st.chosen = st.data
	if st.data == "" {
		if st.data, err = stateDir(); err != nil {
			return err
		}
	}
	catalog, err := price.Embedded()
	if err != nil {
		return err
	}
	model, err := startDemoModel()
	if err != nil {
		return err
	}
	defer model.Close()
	s, err := st.setup(catalog, model.Addr().String())
	if err != nil {
		return err
	}
	p, err := start(ctx, s, catalog, version(), log, mask)
	if err != nil {
		return err
	}
	say("  data     %s", s.Data)
	say("  agents   http://%s   (tools at /mcp, models at /v1)", p.doors.agents.Addr())
	say("  metrics  http://%s/metrics", p.adminAddress())
	p.tellTools(ctx, say)
	p.tellModels(ctx, say)
	key, err := p.starterKey(ctx)
	if err != nil {
		return errors.Join(err, p.close(context.WithoutCancel(ctx)))
	}
	say("  key      %s   (limit %s; kept in %s)", key.Reveal(), starterLimit, p.file(keyFile))
	say("\n%s", pasteLines(os.Args[0], stdioLine(st.chosen), "http://"+p.doors.agents.Addr().String(), key.Reveal()))
	<-ctx.Done()
	say("\nstopping: calls under way may end; press Ctrl-C again to cut them")
	return p.drain(ctx)
}

// startDemoModel serves the demo model on a free loopback port, where the gateway finds it like any other provider.
func startDemoModel() (net.Listener, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting the demo model: %w", err)
	}
	srv := &http.Server{Handler: demo.New(time.Now, demoPace), ReadHeaderTimeout: headerTime}
	go func() { _ = srv.Serve(ln) }() // ends when ln is closed
	return ln, nil
}

// setup is the starter's: what a config file would say. model is the address of the demo model; empty: no models are wanted.
func (st *starterOptions) setup(catalog *price.Catalog, model string) (*settings.Setup, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program for the demo tools: %w", err)
	}
	search, err := filepath.Abs(st.search)
	if err != nil {
		return nil, fmt.Errorf("--starter-search: %w", err)
	}
	src := &settings.Source{Name: "starter", Dir: ".", File: settings.File{
		Version: 1, Listen: st.listen, Admin: settings.Admin{Listen: st.admin}, Data: st.data,
		Providers: map[string]*settings.Provider{},
		Servers: map[string]*settings.Server{demoName: {
			Command: []string{self, demoServerName, "--notes", filepath.Join(st.data, "notes"), "--search", search}, Trusted: true,
		}},
	}}
	if model != "" {
		addModels(src, model)
	}
	s, err := settings.Prepare(src, catalog)
	if err != nil {
		return nil, err
	}
	if !s.Loopback() {
		return nil, fmt.Errorf("the starter is for this machine only, and %s is not a loopback address: write a config file", st.listen)
	}
	s.Warnings = nil // of its missing policy directory: its one rule is here
	s.Policy, err = policy.Compile("starter", map[string][]byte{"starter.yaml": []byte(starterRules)}, policy.Options{CheckLimit: settings.CheckLimit})
	return s, err
}

// addModels adds the demo model at an address, the providers whose keys are in the environment and local model servers.
func addModels(src *settings.Source, model string) {
	free := func() *settings.Price { return &settings.Price{Price: price.Free()} }
	src.Providers[demoName] = &settings.Provider{
		Kind: vendor.Custom, BaseURL: "http://" + model + "/v1", Price: free(), Models: []string{demo.Model, demo.Embedding},
		Dialects: []string{"chat", "responses", "messages", "embeddings", "count_tokens"},
	}
	for _, f := range vendor.FromEnv(os.Getenv) {
		src.Providers[f.Provider.Name] = &settings.Provider{APIKey: "env:" + f.KeyEnv}
	}
	for _, l := range vendor.Locals(os.Getenv) {
		src.Providers[l.Name] = &settings.Provider{BaseURL: l.Base, Price: free()}
	}
}

// tellTools waits for the demo tools and says what there is.
func (p *process) tellTools(ctx context.Context, say func(string, ...any)) {
	ctx, cancel := context.WithTimeout(ctx, toolsTime)
	defer cancel()
	tick := time.NewTicker(toolsPoll)
	defer tick.Stop()
	for {
		for _, h := range p.mcp.Health() {
			if h.State != mcp.Connecting {
				say("  tools    %s: %s, %d tools %s", h.Name, h.State, h.Tools, h.Reason)
				return
			}
		}
		select {
		case <-ctx.Done():
			say("  tools    %s: still connecting; it goes on in the background", demoName)
			return
		case <-tick.C:
		}
	}
}

// tellModels drops the local model servers that do not answer, and says which providers there are.
func (p *process) tellModels(ctx context.Context, say func(string, ...any)) {
	next := *p.inForce()
	next.Routes.Providers = nil
	var told []string
	for _, provider := range p.inForce().Routes.Providers {
		if provider.Vendor.Local && !p.answers(ctx, provider.Provider) {
			continue
		}
		next.Routes.Providers = append(next.Routes.Providers, provider)
		told = append(told, provider.Name)
	}
	if err := p.reload(ctx, &next); err != nil {
		p.log.Error("dropping local model servers that do not answer", "err", err)
		return
	}
	say("  models   %s", strings.Join(told, ", "))
	if len(told) == 1 {
		say("           (set OPENAI_API_KEY, ANTHROPIC_API_KEY, GROQ_API_KEY … or start Ollama before this to have real ones)")
	}
}

// answers asks a local model server for a sign of life.
func (p *process) answers(ctx context.Context, local *vendor.Provider) bool {
	probe, err := local.Vendor.ProbeURL(local.Base)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	call := policy.Call{Action: policy.ProviderProbe, Upstream: local.Name}
	err = p.gate.Do(ctx, call, ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, probe, nil)
		if err != nil {
			return err
		}
		resp, err := p.gate.RoundTrip(permit, req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		permit.Done(ledger.OK, resp.StatusCode, "")
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", resp.StatusCode)
		}
		return nil
	})
	return err == nil
}

// starterKey is the starter's key: minted at its first start, kept in a file that only its owner reads, and used again.
func (p *process) starterKey(ctx context.Context) (secret.String, error) {
	path := p.file(keyFile)
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return secret.String{}, fmt.Errorf("reading the starter's key: %w", err)
	}
	if kept := strings.TrimSpace(string(b)); kept != "" && p.valid(kept) {
		return secret.New(kept), nil
	}
	for _, k := range p.keys.List() {
		if k.Name == starterKey && live(&k, time.Now()) { // its secret is lost
			if err := p.keys.Revoke(ctx, k.ID); err != nil {
				return secret.String{}, err
			}
		}
	}
	_, minted, err := p.keys.Mint(ctx, oauth.KeySpec{Name: starterKey, Limits: []string{starterLimit}})
	if err != nil {
		return secret.String{}, fmt.Errorf("minting the starter's key: %w", err)
	}
	if err := durable.WriteFile(path, []byte(minted.Reveal()+"\n"), secretMode); err != nil {
		return secret.String{}, fmt.Errorf("keeping the starter's key: %w", err)
	}
	return minted, nil
}

// valid reports whether a request with this key would have a principal.
func (p *process) valid(key string) bool {
	r, err := http.NewRequest(http.MethodGet, "/", nil)
	if err != nil {
		return false
	}
	r.Header.Set("Authorization", "Bearer "+key)
	_, err = oauth.NewAuthenticator(p.keys, "").Authenticate(r)
	return err == nil
}
