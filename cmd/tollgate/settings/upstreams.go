package settings

import (
	"iter"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/llm"
	"github.com/tollgate/tollgate/llm/price"
	"github.com/tollgate/tollgate/llm/vendor"
	"github.com/tollgate/tollgate/mcp"
	"github.com/tollgate/tollgate/oauth"
	"github.com/tollgate/tollgate/policy"
)

// Sorted walks a map by name, so that findings and lists have an order.
func Sorted[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, name := range Names(m) {
			if !yield(name, m[name]) {
				return
			}
		}
	}
}

// Names are the keys of m, sorted.
func Names[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// unpriced reads the setting of that name.
func unpriced(s *Source, path, text string) bool {
	switch text {
	case "", "deny":
		return false
	case "allow":
		return true
	}
	s.fault(path, "%q is not a choice: deny or allow", text)
	return false
}

func (out *Setup) providers(s *Source, catalog *price.Catalog) {
	general := unpriced(s, "unpriced", s.Unpriced)
	out.Routes.Prices = catalog
	for name, p := range Sorted(s.Providers) {
		path := "providers." + name
		if p == nil {
			p = &Provider{}
		}
		d := vendor.Declared{Name: name, Kind: p.Kind, BaseURL: p.BaseURL}
		for _, dialect := range p.Dialects {
			d.Dialects = append(d.Dialects, vendor.Dialect(dialect))
		}
		ready, err := vendor.New(d, os.Getenv)
		if err != nil {
			s.fault(path, "%v", err)
			continue
		}
		terms := price.Terms{Provider: name, Kind: ready.Vendor.Kind, Price: p.Price.priced(), Models: map[string]*price.Price{}, Unpriced: general}
		if p.Unpriced != "" {
			terms.Unpriced = unpriced(s, path+".unpriced", p.Unpriced)
		}
		for model, row := range p.Prices {
			terms.Models[model] = row.priced()
		}
		if !slices.Contains([]string{"", "cancel", "drain"}, p.OnDisconnect) {
			s.fault(path+".on_disconnect", "%q is not a choice: cancel or drain", p.OnDisconnect)
		}
		out.Routes.Providers = append(out.Routes.Providers, llm.Provider{
			Provider: ready, Terms: terms, Models: p.Models, Drain: p.OnDisconnect == "drain",
			Private:   p.BaseURL != "" || ready.Vendor.Local || ready.Vendor.BaseEnv != "" && os.Getenv(ready.Vendor.BaseEnv) != "",
			FirstByte: time.Duration(p.FirstByte), ConnsMax: p.Connections,
		})
		out.providerKey(s, path, name, p, ready.Vendor)
	}
}

// providerKey takes the provider's credential: the one referred to; no other is looked for.
func (out *Setup) providerKey(s *Source, path, name string, p *Provider, v *vendor.Vendor) {
	if p.APIKey != "" {
		out.Credentials[oauth.Upstream{Side: policy.Models, Name: name}] = llm.Credential(v, out.reference(s, path+".api_key", p.APIKey))
		return
	}
	if len(v.KeyEnv) > 0 && !v.Local && p.BaseURL == "" {
		s.fault(path, "provider %s has no credential: write api_key: env:%s", name, v.KeyEnv[0])
	}
}

func (p *Price) priced() *price.Price {
	if p == nil {
		return nil
	}
	return p.Price
}

func (out *Setup) aliases(s *Source) {
	out.Routes.Aliases = map[string][]llm.Target{}
	for name, targets := range Sorted(s.Models) {
		path := "models." + name
		if len(targets) == 0 {
			s.fault(path, "alias %s has no targets: write a list of {use: provider/model}", name)
		}
		for _, t := range targets {
			provider, model, ok := strings.Cut(t.Use, "/")
			switch {
			case !ok || model == "":
				s.fault(path, "%q is not a target: write use: provider/model", t.Use)
			case !contains(s.Providers, provider):
				s.fault(path, "%s", Unknown("provider", provider, Names(s.Providers), "providers"))
			}
			if t.Weight < 0 || t.Tier < 0 {
				s.fault(path, "weight and tier of %s cannot be negative", t.Use)
			}
			out.Routes.Aliases[name] = append(out.Routes.Aliases[name], llm.Target{Use: t.Use, Weight: t.Weight, Tier: t.Tier})
		}
	}
}

func contains[V any](m map[string]V, name string) bool { _, ok := m[name]; return ok }

func (out *Setup) toolServers(s *Source) {
	for name, srv := range Sorted(s.Servers) {
		path := "servers." + name
		if srv == nil || (srv.URL == "") == (len(srv.Command) == 0) {
			s.fault(path, "server %s needs url: or command:, one of them", name)
			continue
		}
		m := mcp.Server{
			Name: name, Command: srv.Command, Dir: s.Resolve(srv.Dir), Era: srv.Era, Timeout: time.Duration(srv.Timeout),
			Trusted: srv.Trusted, PricePerCall: out.perCall(s, path+".price", srv.Price), Private: true,
		}
		if srv.Era == "auto" {
			m.Era = ""
		}
		m.Shared = srv.Sessions == "shared"
		switch {
		case srv.Sessions != "" && srv.Sessions != "shared" && srv.Sessions != "principal":
			s.fault(path+".sessions", "sessions of server %s is shared or principal, not %q", name, srv.Sessions)
		case srv.Sessions != "" && srv.URL != "":
			s.fault(path+".sessions", "sessions is for servers with a command; server %s has a url, whose sessions are always their callers' own", name)
		}
		out.serverPlace(s, path, srv, &m)
		for tool, o := range Sorted(srv.Tools) {
			over := mcp.ToolOverride{ReadOnly: o.ReadOnly, Destructive: o.Destructive, Idempotent: o.Idempotent, OpenWorld: o.OpenWorld}
			if o.Price != nil {
				n := out.perCall(s, path+".tools."+tool+".price", o.Price)
				over.Price = &n
			}
			if m.Tools == nil {
				m.Tools = map[string]mcp.ToolOverride{}
			}
			m.Tools[tool] = over
		}
		out.serverKey(s, path, srv, name)
		out.Servers = append(out.Servers, m)
	}
	for name, p := range Sorted(s.Profiles) {
		for _, server := range p.Servers {
			if !contains(s.Servers, server) {
				s.fault("profiles."+name, "%s", Unknown("server", server, Names(s.Servers), "servers"))
			}
		}
		out.Profiles = append(out.Profiles, mcp.Profile{Name: name, Servers: p.Servers})
	}
	if err := mcp.Check(out.Servers, out.Profiles); err != nil && len(s.found) == 0 {
		s.fault("servers", "%v", err)
	}
}

// serverPlace takes where the server is, or what runs it.
func (out *Setup) serverPlace(s *Source, path string, srv *Server, m *mcp.Server) {
	if srv.URL != "" {
		u, err := url.Parse(srv.URL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
			s.fault(path+".url", "%q is not a URL: write https://host/path", srv.URL)
			return
		}
		m.URL = u
		if len(srv.Env) > 0 || srv.Dir != "" {
			s.fault(path, "env and dir are for servers with a command")
		}
		return
	}
	if srv.Dir != "" {
		s.exists(path+".dir", m.Dir)
	}
	m.Env = map[string]secret.String{"HOME": secret.New(out.Home(m.Name))}
	for name, value := range Sorted(srv.Env) {
		v := secret.New(value)
		if strings.HasPrefix(value, "env:") || strings.HasPrefix(value, "file:") {
			v = out.reference(s, path+".env."+name, value)
		}
		m.Env[name] = v
	}
}

// Home is the directory that is HOME to a server with a command: its own, and kept, so that what a package runner has
// fetched once is there at the next start.
func (out *Setup) Home(server string) string { return filepath.Join(out.Data, "homes", server) }

func (out *Setup) serverKey(s *Source, path string, srv *Server, name string) {
	c := oauth.Credential{Headers: map[string]secret.String{}}
	if srv.Auth.Bearer != "" {
		c.Headers["Authorization"] = secret.New("Bearer " + out.reference(s, path+".auth.bearer", srv.Auth.Bearer).Reveal())
	}
	for header, ref := range Sorted(srv.Auth.Headers) {
		c.Headers[header] = out.reference(s, path+".auth.headers."+header, ref)
	}
	if len(c.Headers) == 0 {
		return
	}
	if srv.URL == "" {
		s.fault(path+".auth", "auth is for servers with a url; give a command its credential by env:")
	}
	out.Credentials[oauth.Upstream{Side: policy.Tools, Name: name}] = c
}

// perCall is the price of one tool call.
func (out *Setup) perCall(s *Source, path string, p *Price) ledger.Nano {
	if p == nil {
		return 0
	}
	others := p.Rates
	others.Call = 0
	if others != (price.Rates{}) {
		s.fault(path, "a tool call is priced per call: write price: {call: 0.001 USD}")
	}
	return p.Rates.Call
}
