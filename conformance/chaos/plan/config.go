package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Place is where a replica stands and what is around it.
type Place struct {
	Listen, Admin   string // addresses
	Provider, Tools string // addresses of the upstreams
	Timezone        string
	Shared          bool // EnvDatabase and EnvSecretKey hold the database and the key that replicas share
}

// The environment variables that Config refers to, beside those of Env.
const (
	EnvDatabase  = "CHAOS_DATABASE"
	EnvSecretKey = "CHAOS_SECRET_KEY"
)

// Config is the config file of a replica; data and policies are directories beside it.
func (p *Plan) Config(at Place) string {
	var b strings.Builder
	add := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	add("version: 1\nlisten: %s\nadmin: {listen: %q}\ndata: ./data\npolicies: ./policies\ntimezone: %s", at.Listen, at.Admin, at.Timezone)
	if at.Shared {
		add("database: env:%s\nsecret_key: env:%s\nadvertise: %s", EnvDatabase, EnvSecretKey, at.Listen)
	}
	const price = "price: {input: 1 USD/1M, output: 4 USD/1M}"
	add("providers:")
	add("  alpha: {dialects: [chat], base_url: http://%s/alpha, models: [steady, flaky, verbose, slow], %s}", at.Provider, price)
	add("  beta: {dialects: [chat], base_url: http://%s/beta, models: [drained, solid], on_disconnect: drain, %s}", at.Provider, price)
	add("models: {either: [{use: alpha/flaky}, {use: beta/solid, tier: 2}]}")
	add("servers:")
	for _, server := range []string{"mail", "crm"} {
		add("  %s: {url: http://%s/%s, timeout: 20s, trusted: true, tools: {%s}}", server, at.Tools, server, priced(server))
	}
	p.addCast(add)
	return b.String()
}

func priced(server string) string {
	var tools []string
	for _, path := range slices.Sorted(maps.Keys(toolPrices)) {
		if name, ok := strings.CutPrefix(path, server+"/"); ok {
			n := toolPrices[path]
			tools = append(tools, fmt.Sprintf("%s: {price: {call: %d.%09d USD}}", name, n/Dollar, n%Dollar))
		}
	}
	return strings.Join(tools, ", ")
}

// addCast adds customers, teams, users and keys with their limits.
func (p *Plan) addCast(add func(string, ...any)) {
	named := map[string]map[string]string{"customers": {}, "teams": {}, "users": {}, "keys": {}}
	for _, k := range p.Keys {
		var of []string
		if k.Customer != "" {
			named["customers"][k.Customer] = ""
		}
		if k.Team != "" {
			named["teams"][k.Team] = "customer: " + k.Customer
			of = append(of, "team: "+k.Team)
		}
		if k.User != "" {
			named["users"][k.User] = ""
			of = append(of, "user: "+k.User)
		}
		named["keys"][k.Name] = strings.Join(append(of, "secret: env:"+envOf(k)), ", ")
	}
	for _, section := range []string{"customers", "teams", "users", "keys"} {
		add("%s:", section)
		for _, name := range slices.Sorted(maps.Keys(named[section])) {
			fields := []string{"limits: [" + p.limitsOf(strings.TrimSuffix(section, "s"), name) + "]"}
			if more := named[section][name]; more != "" {
				fields = append(fields, more)
			}
			add("  %s: {%s}", name, strings.Join(fields, ", "))
		}
	}
}

func (p *Plan) limitsOf(level, name string) string {
	var out []string
	for _, l := range p.Limits {
		switch {
		case l.Level != level || l.Name != name:
		case len(l.On) > 0:
			out = append(out, fmt.Sprintf("{limit: %q, on: [%s]}", l.Text(), quoted(l.On)))
		default:
			out = append(out, fmt.Sprintf("%q", l.Text()))
		}
	}
	return strings.Join(out, ", ")
}

func quoted(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = fmt.Sprintf("%q", s)
	}
	return strings.Join(out, ", ")
}

func envOf(k *Key) string {
	return "CHAOS_KEY_" + strings.ToUpper(strings.ReplaceAll(k.Name, "-", "_"))
}

// Env are the secrets that Config refers to.
func (p *Plan) Env() []string {
	var out []string
	for _, k := range p.Keys {
		out = append(out, envOf(k)+"="+k.Secret())
	}
	return out
}

// Rules is the policy file: everything is allowed, and the limits that rules lay.
func (p *Plan) Rules() string {
	var b strings.Builder
	b.WriteString("version: 1\nrules:\n  - {id: all, effect: allow, tools: [\"*\"], models: [\"*\"]}\n")
	for _, l := range p.Limits {
		if l.Level != "rule" {
			continue
		}
		side := "tools"
		if strings.HasPrefix(l.On[0], "alpha/") || strings.HasPrefix(l.On[0], "beta/") {
			side = "models"
		}
		fmt.Fprintf(&b, "  - {id: %s, effect: limit, %s: [%s], limit: %q, per: %s}\n", l.Name, side, quoted(l.On), l.Text(), l.Per)
	}
	return b.String()
}
