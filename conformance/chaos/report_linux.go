package main

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"

	"github.com/tollgate/tollgate/conformance/chaos/checker"
	"github.com/tollgate/tollgate/conformance/chaos/plan"
)

// findingsShown is how many findings are shown with their lines.
const findingsShown = 3

// text is the report for whoever started the run.
func (r *result) text() string {
	var b strings.Builder
	b.WriteString(r.counts())
	b.WriteString("\n")
	for _, l := range r.report.Limits {
		fmt.Fprintf(&b, "%s\n", strings.Join(row(&l), "  "))
	}
	fmt.Fprintf(&b, "\nverdict: %s\n", r.report.Summary())
	shown := map[checker.Rule]int{}
	for _, f := range r.report.Findings {
		if shown[f.Rule]++; shown[f.Rule] <= findingsShown {
			fmt.Fprintf(&b, "\n%s: %s\n  %s\n", f.Rule, f.Text, strings.Join(f.Lines, "\n  "))
		}
	}
	return b.String()
}

// counts are the figures of the run, one a line.
func (r *result) counts() string {
	c := r.report
	var b strings.Builder
	faults := map[string]int{}
	for _, f := range r.faults {
		faults[f.Kind]++
	}
	fmt.Fprintf(&b, "- calls of workers: %s\n", list(c.Calls))
	fmt.Fprintf(&b, "- requests that reached upstreams: %s\n", list(c.Requests))
	fmt.Fprintf(&b, "- entries in journals: %d, of these in the index: %d; reservations of calls ended as %s; of these never arrived upstream: %s\n", c.Entries, c.Indexed, list(c.Ends), list(c.Unseen))
	fmt.Fprintf(&b, "- upstreams bill %s, the ledger has %s for what reached them; %d ends are estimates, %s too low in sum\n",
		dollars(c.Bill), dollars(c.Posted), c.Estimated, dollars(c.Below))
	if r.proof != "" {
		fmt.Fprintf(&b, "- `tollgate audit verify` at the end: %s\n", strings.Join(strings.Fields(r.proof), " "))
	}
	if !r.disks {
		b.WriteString("- disks were not broken: it takes root and loop devices\n")
	}
	fmt.Fprintf(&b, "- faults: %s\n", list(faults))
	return b.String()
}

// list writes counts, the largest first.
func list[K ~string](m map[K]int) string {
	keys := slices.SortedFunc(maps.Keys(m), func(a, b K) int { return cmp.Or(m[b]-m[a], cmp.Compare(a, b)) })
	total := 0
	var out []string
	for _, k := range keys {
		total += m[k]
		out = append(out, fmt.Sprintf("%s %d", cmp.Or(string(k), "under way at the end"), m[k]))
	}
	return fmt.Sprintf("%d (%s)", total, strings.Join(out, ", "))
}

func dollars(nano int64) string {
	return fmt.Sprintf("%.6f USD", float64(nano)/plan.Dollar)
}

// row is a limit in the table.
func row(l *checker.Reached) []string {
	spell := func(n int64) string {
		if l.Limit.Unit == plan.USD {
			return dollars(n)
		}
		return fmt.Sprint(n)
	}
	name, beyond := l.Limit.String(), "–"
	if l.Lowered {
		name += ", lowered on one replica"
	}
	if l.Allowed > 0 {
		beyond = spell(l.Allowed)
	}
	if l.Busy > 0 {
		beyond = fmt.Sprintf("%d busy", l.Busy)
	}
	share := "–"
	if l.Limit.Amount > 0 {
		share = fmt.Sprintf("%.1f %%", 100*float64(l.Most)/float64(l.Limit.Amount))
	}
	return []string{name, l.Group, spell(l.Most), share, beyond}
}

// markdown is CHAOS.md.
func (r *result) markdown() string {
	var b strings.Builder
	add := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	add("# Chaos\n\nWritten by `make chaos` (conformance/chaos); `make chaos SEED=%d MINUTES=%g` repeats the schedule.\n", r.o.seed, r.o.length.Minutes())
	add("%s · %d replicas, one PostgreSQL, 200 workers, %s · Linux, %s, %d processors\n", r.began.UTC().Format("2006-01-02"), r.o.replicas, r.o.length, runtime.Version(), runtime.NumCPU())
	add("%s", intro)
	add("**Verdict: %s.**\n", r.report.Summary())
	add("%s", r.counts())
	add("## Limits\n\nThe most that the upstreams saw within one window, over all windows and groups. 'beyond the hold' is the part of it by which calls\ncost more than was held for them, or than could be known of them when they were cut: the published error of limits that are not\nhard. For concurrent limits it is how many requests the upstreams were busy with at once, those included whose replica was dead or\nwhose caller had left.\n")
	add("| limit | whose | most seen | of the limit | beyond the hold |\n|---|---|---:|---:|---:|")
	for _, l := range r.report.Limits {
		add("| %s |", strings.Join(row(&l), " | "))
	}
	add("\n## Faults\n\n| seconds | on | what |\n|---:|---|---|")
	for _, f := range r.faults {
		add("| %.1f | %s | %s |", float64(f.At-r.began.UnixNano())/1e9, f.On, cmp.Or(f.Detail, f.Kind))
	}
	return b.String()
}

const intro = `Several gateways with one PostgreSQL between them, a mock provider and two mock MCP servers run as processes of their own, and 200
workers call through them under limits of every kind, while faults happen that are drawn from the seed. Upstreams and workers note
what they see, by the machine's clock. A checker that shares no code with the gateway then reads all journals, hash chains included,
and compares: every request that reached an upstream has one reservation and one end, every settled amount is what the upstream
bills, every answer and refusal has its line, nothing stands twice, and no limit was exceeded in any window.
`
