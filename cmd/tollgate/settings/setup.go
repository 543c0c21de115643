package settings

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
	"github.com/tollgate/tollgate/ledger/sink"
	"github.com/tollgate/tollgate/llm"
	"github.com/tollgate/tollgate/llm/price"
	"github.com/tollgate/tollgate/mcp"
	"github.com/tollgate/tollgate/oauth"
	"github.com/tollgate/tollgate/policy"
)

// Setup is what a config file means: every part checked and ready to be wired. It is made whole or not at all, at start
// and at every reload.
type Setup struct {
	Listen         string
	Admin          string // empty: only the socket
	PublicURL      *url.URL
	Guard          edge.Guard
	Data           string
	Durability     ledger.Durability
	Retention      Days  // of the journal's entries; 0: they stay
	IndexRetention Days  // of calls in the index; 0: they stay
	Proof          Proof // how the ledger is proved
	Location       *time.Location
	Anonymous      string
	Replica        *Replica // nil: the gateway stands alone

	Routes      llm.Routes
	Servers     []mcp.Server
	Profiles    []mcp.Profile
	Keys        []oauth.KeySpec
	Teams       map[string]string // customer by team
	Users       map[string]bool
	Credentials map[oauth.Upstream]oauth.Credential
	Limits      map[ledger.Scope][]ledger.Limit // all but those of keys, which are attached by key id
	KeyLimits   map[string][]ledger.Limit       // by the name of a declared key

	Sinks []sink.Spec

	Privacy Privacy

	Policies string // directory; empty: none
	Policy   *policy.Set
	Warnings []string
	Files    []string // what to watch for changes
	Secrets  []secret.String
}

// Prepare works out what s means. The error joins every fault that was found, each with its line.
func Prepare(s *Source, catalog *price.Catalog) (*Setup, error) {
	out := &Setup{
		Limits: map[ledger.Scope][]ledger.Limit{}, KeyLimits: map[string][]ledger.Limit{},
		Credentials: map[oauth.Upstream]oauth.Credential{}, Teams: map[string]string{}, Users: map[string]bool{}, Files: []string{s.Name},
	}
	if s.Version != 1 {
		s.fault("version", "write version: 1, the form of this file")
	}
	out.addresses(s)
	out.storage(s)
	out.checkpoints(s)
	out.replicas(s)
	out.providers(s, catalog)
	out.aliases(s)
	out.toolServers(s)
	out.people(s)
	out.declaredKeys(s)
	out.sinks(s)
	out.privacy(s)
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

func (out *Setup) addresses(s *Source) {
	out.Listen = cmp.Or(s.Listen, DefaultListen)
	out.Admin = cmp.Or(s.Admin.Listen, DefaultAdmin)
	if out.Admin == "off" {
		out.Admin = ""
	}
	for path, addr := range map[string]string{"listen": out.Listen, "admin.listen": out.Admin} {
		if _, _, err := net.SplitHostPort(addr); addr != "" && err != nil {
			s.fault(path, "%q is not an address: write host:port, such as 127.0.0.1:8787", addr)
		}
	}
	text := cmp.Or(s.PublicURL, "http://"+out.Listen)
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		s.fault("public_url", "%q is not a URL: write https://host or http://host:port", text)
		u = &url.URL{}
	}
	out.PublicURL = u
	out.Guard = edge.Guard{Hosts: append([]string{strings.ToLower(u.Hostname())}, s.Hosts...), Origins: s.Origins}
	if out.Loopback() {
		out.Guard.Hosts = append(out.Guard.Hosts, "localhost", "127.0.0.1", "::1")
	}
	for i, origin := range s.Origins {
		if o, err := url.Parse(origin); err != nil || o.Scheme == "" || o.Host == "" || o.Path != "" {
			s.fault("origins", "origins[%d]: %q is not an origin: write scheme://host or scheme://host:port", i, origin)
		}
	}
}

// Loopback reports whether agents can only come from this machine.
func (out *Setup) Loopback() bool {
	host, _, err := net.SplitHostPort(out.Listen)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

func (out *Setup) storage(s *Source) {
	out.Data = s.Resolve(cmp.Or(s.Data, DefaultData))
	out.Retention = s.Retention
	out.IndexRetention = cmp.Or(s.IndexRetention, s.Retention)
	out.Durability = ledger.Durability(cmp.Or(s.Durability, string(ledger.Overlap)))
	if !slices.Contains([]ledger.Durability{ledger.Overlap, ledger.Strict, ledger.Relaxed}, out.Durability) {
		s.fault("durability", "%q is not a durability: overlap, strict or relaxed", s.Durability)
	}
	var err error
	if out.Location, err = time.LoadLocation(cmp.Or(s.Timezone, "UTC")); err != nil {
		s.fault("timezone", "%q is not a time zone: write a name of the IANA database, such as Europe/Berlin", s.Timezone)
	}
}

// reference resolves a secret that the key at path refers to.
func (out *Setup) reference(s *Source, path, ref string) secret.String {
	if name, ok := strings.CutPrefix(ref, "file:"); ok {
		ref = "file:" + s.Resolve(name)
		out.Files = append(out.Files, s.Resolve(name))
	}
	if s.WithoutSecrets {
		return secret.New("not-looked-for:" + path)
	}
	v, err := secret.Resolve(ref)
	if err != nil {
		s.fault(path, "%v", err)
	}
	if w := secret.Exposed(ref); w != "" {
		out.Warnings = append(out.Warnings, w)
	}
	out.Secrets = append(out.Secrets, v)
	return v
}

// attach parses limits and adds them to the list that add keeps.
func (out *Setup) attach(s *Source, owner string, limits []Limit) []ledger.Limit {
	var list []ledger.Limit
	for _, l := range limits {
		parsed, err := ledger.ParseLimit(l.Text)
		if err != nil {
			s.faultAt(l.Line, "%v", err)
			continue
		}
		parsed.On = l.On
		for _, w := range parsed.Warnings() {
			out.Warnings = append(out.Warnings, fmt.Sprintf("%s: %s", owner, w))
		}
		list = append(list, parsed)
	}
	return list
}

// Unknown is the fault of naming something that is not declared.
func Unknown(kind, name string, known []string, where string) string {
	slices.Sort(known)
	return fmt.Sprintf("no %s is named %q%s: declare it under %s:", kind, name, strictyaml.DidYouMean(name, known), where)
}

func (out *Setup) people(s *Source) {
	for name, c := range Sorted(s.Customers) {
		out.Limits[ledger.Scope{Level: ledger.CustomerLevel, Name: name}] = out.attach(s, "customer "+name, c.Limits)
	}
	for name, t := range Sorted(s.Teams) {
		if t.Customer != "" && s.Customers[t.Customer] == nil {
			s.fault("teams."+name+".customer", "%s", Unknown("customer", t.Customer, Names(s.Customers), "customers"))
		}
		out.Teams[name] = t.Customer
		out.Limits[ledger.Scope{Level: ledger.TeamLevel, Name: name}] = out.attach(s, "team "+name, t.Limits)
	}
	for name, u := range Sorted(s.Users) {
		out.Users[name] = true
		out.Limits[ledger.Scope{Level: ledger.UserLevel, Name: name}] = out.attach(s, "user "+name, u.Limits)
	}
}

func (out *Setup) declaredKeys(s *Source) {
	for name, k := range Sorted(s.Keys) {
		path := "keys." + name
		if k.Secret == "" {
			s.fault(path, "key %s has no secret: write secret: env:NAME or secret: file:PATH", name)
			continue
		}
		if k.Team != "" && s.Teams[k.Team] == nil {
			s.fault(path+".team", "%s", Unknown("team", k.Team, Names(s.Teams), "teams"))
		}
		if k.User != "" && s.Users[k.User] == nil {
			s.fault(path+".user", "%s", Unknown("user", k.User, Names(s.Users), "users"))
		}
		if _, err := policy.CompileFilter(k.Tools, k.Models); err != nil {
			s.fault(path, "key %s: %v", name, err)
		}
		spec := oauth.KeySpec{
			Name: name, Team: k.Team, Customer: out.Teams[k.Team], User: k.User, Secret: out.reference(s, path+".secret", k.Secret),
			Tags: k.Tags, Expires: k.Expires.Time, Tools: k.Tools, Models: k.Models,
		}
		out.KeyLimits[name] = out.attach(s, "key "+name, k.Limits)
		out.Keys = append(out.Keys, spec)
	}
	out.Anonymous = s.Anonymous
	if out.Anonymous == "" {
		return
	}
	if s.Keys[out.Anonymous] == nil {
		s.fault("anonymous", "%s", Unknown("key", out.Anonymous, Names(s.Keys), "keys"))
	}
	if !out.Loopback() {
		s.fault("anonymous", "anonymous is for loopback listeners only, and listen is %s", out.Listen)
	}
}

func (out *Setup) rules(s *Source) {
	out.Policies = s.Resolve(s.Policies)
	out.Policy = policy.None()
	if out.Policies == "" {
		out.Warnings = append(out.Warnings, "no policies: nothing may be called. Write policies: DIR and a rule file in it, the smallest being "+
			`{version: 1, rules: [{id: all, effect: allow, tools: ["*"], models: ["*"]}]}`)
		return
	}
	set, err := policy.Load(out.Policies, policy.Options{CheckLimit: CheckLimit, Location: out.Location})
	if err != nil {
		s.found = append(s.found, err)
		return
	}
	out.Policy = set
	out.Files = append(out.Files, out.Policies)
	for _, w := range slices.Concat(set.Warnings(), set.Unreached(Names(s.Servers), Names(s.Providers))) {
		out.Warnings = append(out.Warnings, w.String())
	}
}

// CheckLimit says what is wrong with a limit as it is written.
func CheckLimit(text string) error {
	_, err := ledger.ParseLimit(text)
	return err
}

// exists faults a path that names no directory.
func (s *Source) exists(path, dir string) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		s.fault(path, "%s is not a directory", dir)
	}
}
