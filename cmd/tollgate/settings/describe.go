package settings

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/llm"
	"github.com/tollgate/tollgate/mcp"
)

// report writes the lines of check and counts what is missing.
type report struct {
	out     io.Writer
	missing int
}

func (r *report) line(format string, args ...any) { fmt.Fprintf(r.out, format+"\n", args...) }

func (r *report) lack(format string, args ...any) {
	r.missing++
	r.line("    missing: "+format, args...)
}

// Describe prints what s would run and returns how many things are missing.
func (out *Setup) Describe(w io.Writer, path string) int {
	r := &report{out: w}
	r.line("%s would serve agents on %s (%s), operators on %s", path, out.Listen, out.PublicURL, cmp.Or(out.Admin, "the socket only"))
	r.line("data in %s, durability %s, entries kept %s and listed %s, calendar windows in %s", out.Data, out.Durability, out.Retention, out.IndexRetention, out.Location)
	r.line("checkpoints of the ledger signed %s", &out.Proof)
	if c := out.Replica; c != nil {
		r.line("one of several replicas: keys and limits in %s; the others reach this one at %s; without the database it goes on for %s", c.Place, c.Advertise, c.Offline)
	}
	if out.Anonymous != "" {
		r.line("requests without a credential act as key %s", out.Anonymous)
	}
	r.line("\nproviders:")
	for _, p := range out.Routes.Providers {
		out.describeProvider(r, &p)
	}
	for name, targets := range Sorted(out.Routes.Aliases) {
		var uses []string
		for _, t := range targets {
			uses = append(uses, fmt.Sprintf("%s (tier %d, weight %d)", t.Use, max(t.Tier, 1), max(t.Weight, 1)))
		}
		r.line("  alias %s: %s", name, strings.Join(uses, ", "))
	}
	r.line("\nservers:")
	for _, s := range out.Servers {
		describeServer(r, &s)
	}
	for _, p := range out.Profiles {
		r.line("  profile /mcp/%s: %s", p.Name, strings.Join(p.Servers, ", "))
	}
	out.describeSinks(r)
	out.describeKeys(r)
	out.describePrivacy(r)
	out.describePolicy(r)
	for _, text := range out.Warnings {
		r.line("warning: %s", text)
	}
	return r.missing
}

func (out *Setup) describeProvider(r *report, p *llm.Provider) {
	var dialects []string
	for _, d := range p.Dialects {
		dialects = append(dialects, string(d))
	}
	models := "models as the provider lists them"
	if len(p.Models) > 0 {
		models = "models " + strings.Join(p.Models, ", ")
	}
	r.line("  %s: %s at %s, speaks %s; %s", p.Name, p.Vendor.Kind, p.Base, strings.Join(dialects, " "), models)
	switch {
	case p.Terms.Price != nil:
	case p.Terms.Unpriced:
		r.line("    models without a price are called at no cost")
	default:
		priced := len(out.Routes.Prices.Models(p.Vendor.Kind)) + len(p.Terms.Models)
		if priced == 0 {
			r.lack("no model of %s has a price, so none can be called: write price: {input: … USD/1M, output: … USD/1M}, price: 0 or unpriced: allow", p.Name)
		} else {
			r.line("    %d models have a price; others are refused", priced)
		}
		for _, m := range p.Models {
			if _, err := out.Routes.Prices.Find(&p.Terms, m, time.Now()); err != nil {
				r.lack("%v", err)
			}
		}
	}
}

func describeServer(r *report, s *mcp.Server) {
	trust := "annotations not believed"
	if s.Trusted {
		trust = "trusted"
	}
	if s.URL != nil {
		shown := *s.URL
		if shown.RawQuery != "" {
			shown.RawQuery = "…" // some servers take their credential there
		}
		r.line("  %s: %s, %s", s.Name, shown.Redacted(), trust)
		return
	}
	if s.Shared {
		trust += ", one process for all: it can ask its callers nothing"
	}
	r.line("  %s: runs %s, %s", s.Name, strings.Join(s.Command, " "), trust)
	if !executable(s.Command[0], s.Dir) {
		r.lack("the command %s is not found in PATH", s.Command[0])
	}
}

// executable reports whether a command can be started by that name.
func executable(name, dir string) bool {
	runs := func(path string) bool {
		info, err := os.Stat(path)
		return err == nil && !info.IsDir() && info.Mode()&0o111 != 0
	}
	if strings.ContainsRune(name, filepath.Separator) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return runs(name)
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if runs(filepath.Join(dir, name)) {
			return true
		}
	}
	return false
}

func (out *Setup) describeKeys(r *report) {
	r.line("\nkeys declared in the file (minted ones are listed by tollgate key list):")
	for _, k := range out.Keys {
		who := cmp.Or(k.Team, "no team")
		if k.Customer != "" {
			who += " of " + k.Customer
		}
		r.line("  %s: %s", k.Name, who)
		for _, l := range out.KeyLimits[k.Name] {
			r.line("    %s", l.Spell())
		}
		if !k.Expires.IsZero() {
			r.line("    expires %s", k.Expires.Format("2006-01-02 15:04 MST"))
		}
	}
	if len(out.Keys) == 0 {
		r.line("  none")
	}
	for _, level := range []ledger.Level{ledger.CustomerLevel, ledger.TeamLevel, ledger.UserLevel} {
		for scope, list := range out.Limits {
			if scope.Level != level {
				continue
			}
			for _, l := range list {
				r.line("  %s %s: %s", scope.Level, scope.Name, l.Spell())
			}
		}
	}
}

func (out *Setup) describePolicy(r *report) {
	if out.Policies == "" {
		r.lack("policies: nothing may be called")
		return
	}
	r.line("\npolicies in %s, revision %s:", out.Policies, out.Policy.Revision())
	for _, rule := range out.Policy.Rules() {
		r.line("  %s %s: %s", rule.Effect, rule.ID, strings.Join(append(rule.Tools, rule.Models...), " "))
	}
	r.line("")
}
