package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tollgate/tollgate/internal/edge"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/internal/strictyaml"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/llm"
	"github.com/tollgate/tollgate/llm/price"
	"github.com/tollgate/tollgate/mcp"
	"github.com/tollgate/tollgate/oauth"
	"github.com/tollgate/tollgate/policy"
)

// setup is what a config file means: every part checked and ready to be wired. It is made whole or not at all, at start
// and at every reload.
type setup struct {
	listen     string
	admin      string // empty: only the socket
	publicURL  *url.URL
	guard      edge.Guard
	data       string
	durability ledger.Durability
	location   *time.Location
	anonymous  string

	routes      llm.Routes
	servers     []mcp.Server
	profiles    []mcp.Profile
	keys        []oauth.KeySpec
	teams       map[string]string // customer by team
	users       map[string]bool
	credentials map[oauth.Upstream]oauth.Credential
	limits      map[ledger.Scope][]ledger.Limit // all but those of keys, which are attached by key id
	keyLimit    map[string][]ledger.Limit       // by the name of a declared key

	policies   string // directory; empty: none
	policy     *policy.Set
	warnings   []string
	files      []string // what to watch for changes
	references []string // to secrets, for check
	secrets    []secret.String
}

// prepare works out what s means. The error joins every fault that was found, each with its line.
func prepare(s *source, catalog *price.Catalog) (*setup, error) {
	out := &setup{
		limits: map[ledger.Scope][]ledger.Limit{}, keyLimit: map[string][]ledger.Limit{},
		credentials: map[oauth.Upstream]oauth.Credential{}, teams: map[string]string{}, users: map[string]bool{}, files: []string{s.name},
	}
	if s.Version != 1 {
		s.fault("version", "write version: 1, the form of this file")
	}
	out.addresses(s)
	out.storage(s)
	out.providers(s, catalog)
	out.aliases(s)
	out.toolServers(s)
	out.people(s)
	out.declaredKeys(s)
	out.rules(s)
	if len(s.found) > 0 {
		slices.SortStableFunc(s.found, byLine)
		return nil, errors.Join(s.found...)
	}
	return out, nil
}

// byLine orders faults as they stand in the file; those of other files come last.
func byLine(a, b error) int {
	line := func(err error) int {
		if e, ok := err.(*strictyaml.Error); ok {
			return e.Line
		}
		return math.MaxInt
	}
	return cmp.Compare(line(a), line(b))
}

func (out *setup) addresses(s *source) {
	out.listen = cmp.Or(s.Listen, defaultListen)
	out.admin = cmp.Or(s.Admin.Listen, defaultAdmin)
	if out.admin == "off" {
		out.admin = ""
	}
	for path, addr := range map[string]string{"listen": out.listen, "admin.listen": out.admin} {
		if _, _, err := net.SplitHostPort(addr); addr != "" && err != nil {
			s.fault(path, "%q is not an address: write host:port, such as 127.0.0.1:8787", addr)
		}
	}
	text := cmp.Or(s.PublicURL, "http://"+out.listen)
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		s.fault("public_url", "%q is not a URL: write https://host or http://host:port", text)
		u = &url.URL{}
	}
	out.publicURL = u
	out.guard = edge.Guard{Hosts: append([]string{strings.ToLower(u.Hostname())}, s.Hosts...), Origins: s.Origins}
	if out.loopback() {
		out.guard.Hosts = append(out.guard.Hosts, "localhost", "127.0.0.1", "::1")
	}
	for i, origin := range s.Origins {
		if o, err := url.Parse(origin); err != nil || o.Scheme == "" || o.Host == "" || o.Path != "" {
			s.fault("origins", "origins[%d]: %q is not an origin: write scheme://host or scheme://host:port", i, origin)
		}
	}
}

// loopback reports whether agents can only come from this machine.
func (out *setup) loopback() bool {
	host, _, err := net.SplitHostPort(out.listen)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

func (out *setup) storage(s *source) {
	out.data = s.resolve(cmp.Or(s.Data, defaultData))
	out.durability = ledger.Durability(cmp.Or(s.Durability, string(ledger.Overlap)))
	if !slices.Contains([]ledger.Durability{ledger.Overlap, ledger.Strict, ledger.Relaxed}, out.durability) {
		s.fault("durability", "%q is not a durability: overlap, strict or relaxed", s.Durability)
	}
	var err error
	if out.location, err = time.LoadLocation(cmp.Or(s.Timezone, "UTC")); err != nil {
		s.fault("timezone", "%q is not a time zone: write a name of the IANA database, such as Europe/Berlin", s.Timezone)
	}
}

// reference resolves a secret that the key at path refers to.
func (out *setup) reference(s *source, path, ref string) secret.String {
	if name, ok := strings.CutPrefix(ref, "file:"); ok {
		ref = "file:" + s.resolve(name)
		out.files = append(out.files, s.resolve(name))
	}
	out.references = append(out.references, ref)
	if s.withoutSecrets {
		return secret.New("not-looked-for:" + path)
	}
	v, err := secret.Resolve(ref)
	if err != nil {
		s.fault(path, "%v", err)
	}
	if w := secret.Exposed(ref); w != "" {
		out.warnings = append(out.warnings, w)
	}
	out.secrets = append(out.secrets, v)
	return v
}

// attach parses limits and adds them to the list that add keeps.
func (out *setup) attach(s *source, owner string, limits []Limit) []ledger.Limit {
	var list []ledger.Limit
	for _, l := range limits {
		parsed, err := ledger.ParseLimit(l.Text)
		if err != nil {
			s.faultAt(l.Line, "%v", err)
			continue
		}
		parsed.On = l.On
		for _, w := range parsed.Warnings() {
			out.warnings = append(out.warnings, fmt.Sprintf("%s: %s", owner, w))
		}
		list = append(list, parsed)
	}
	return list
}

// unknown is the fault of naming something that is not declared.
func unknown(kind, name string, known []string, where string) string {
	slices.Sort(known)
	return fmt.Sprintf("no %s is named %q%s: declare it under %s:", kind, name, strictyaml.DidYouMean(name, known), where)
}

func (out *setup) people(s *source) {
	for name, c := range sorted(s.Customers) {
		out.limits[ledger.Scope{Level: ledger.CustomerLevel, Name: name}] = out.attach(s, "customer "+name, c.Limits)
	}
	for name, t := range sorted(s.Teams) {
		if t.Customer != "" && s.Customers[t.Customer] == nil {
			s.fault("teams."+name+".customer", "%s", unknown("customer", t.Customer, names(s.Customers), "customers"))
		}
		out.teams[name] = t.Customer
		out.limits[ledger.Scope{Level: ledger.TeamLevel, Name: name}] = out.attach(s, "team "+name, t.Limits)
	}
	for name, u := range sorted(s.Users) {
		out.users[name] = true
		out.limits[ledger.Scope{Level: ledger.UserLevel, Name: name}] = out.attach(s, "user "+name, u.Limits)
	}
}

func (out *setup) declaredKeys(s *source) {
	for name, k := range sorted(s.Keys) {
		path := "keys." + name
		if k.Secret == "" {
			s.fault(path, "key %s has no secret: write secret: env:NAME or secret: file:PATH", name)
			continue
		}
		if k.Team != "" && s.Teams[k.Team] == nil {
			s.fault(path+".team", "%s", unknown("team", k.Team, names(s.Teams), "teams"))
		}
		if k.User != "" && s.Users[k.User] == nil {
			s.fault(path+".user", "%s", unknown("user", k.User, names(s.Users), "users"))
		}
		if _, err := policy.CompileFilter(k.Tools, k.Models); err != nil {
			s.fault(path, "key %s: %v", name, err)
		}
		spec := oauth.KeySpec{
			Name: name, Team: k.Team, Customer: out.teams[k.Team], User: k.User, Secret: out.reference(s, path+".secret", k.Secret),
			Tags: k.Tags, Expires: k.Expires.Time, Tools: k.Tools, Models: k.Models,
		}
		out.keyLimit[name] = out.attach(s, "key "+name, k.Limits)
		out.keys = append(out.keys, spec)
	}
	out.anonymous = s.Anonymous
	if out.anonymous == "" {
		return
	}
	if s.Keys[out.anonymous] == nil {
		s.fault("anonymous", "%s", unknown("key", out.anonymous, names(s.Keys), "keys"))
	}
	if !out.loopback() {
		s.fault("anonymous", "anonymous is for loopback listeners only, and listen is %s", out.listen)
	}
}

func (out *setup) rules(s *source) {
	out.policies = s.resolve(s.Policies)
	out.policy = policy.None()
	if out.policies == "" {
		out.warnings = append(out.warnings, "no policies: nothing may be called. Write policies: DIR and a rule file in it, the smallest being "+
			`{version: 1, rules: [{id: all, effect: allow, tools: ["*"], models: ["*"]}]}`)
		return
	}
	set, err := policy.Load(out.policies, policy.Options{CheckLimit: checkLimit, Location: out.location})
	if err != nil {
		s.found = append(s.found, err)
		return
	}
	out.policy = set
	out.files = append(out.files, out.policies)
	for _, w := range slices.Concat(set.Warnings(), set.Unreached(names(s.Servers), names(s.Providers))) {
		out.warnings = append(out.warnings, w.String())
	}
}

func checkLimit(text string) error {
	_, err := ledger.ParseLimit(text)
	return err
}

// exists faults a path that names no directory.
func (s *source) exists(path, dir string) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		s.fault(path, "%s is not a directory", dir)
	}
}
