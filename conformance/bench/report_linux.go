package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tollgate/tollgate/conformance/bench/target"
)

// median of a value over slices; 0 of none.
func median(of []slice, value func(slice) float64) float64 {
	var all []float64
	for _, s := range of {
		all = append(all, value(s))
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	if n := len(all); n%2 == 0 {
		return (all[n/2-1] + all[n/2]) / 2
	}
	return all[len(all)/2]
}

// added is the median of the differences to the direct call in the same round.
func (m *measured) added(name string, value func(slice) float64) float64 {
	direct := m.slices[target.Direct]
	differences := make([]slice, len(direct))
	for i, s := range m.slices[name] {
		differences[i].p50 = value(s) - value(direct[i])
	}
	return median(differences, p50)
}

// ratio is the median of the quotients of perSecond in the same round.
func (m *measured) ratio(name, to string, value func(slice) float64) string {
	base, ok := m.slices[to]
	if !ok {
		return "–"
	}
	quotients := make([]slice, len(base))
	for i, s := range m.slices[name] {
		if value(base[i]) == 0 {
			return "–"
		}
		quotients[i].p50 = value(s) / value(base[i])
	}
	return fmt.Sprintf("%.2f", median(quotients, p50))
}

func p50(s slice) float64       { return s.p50 }
func p99(s slice) float64       { return s.p99 }
func transit50(s slice) float64 { return s.transit50 }
func transit99(s slice) float64 { return s.transit99 }
func cpu(s slice) float64       { return s.cpu }
func perSecond(s slice) float64 { return s.perSecond }

func allocationsOf(s slice) float64 { return s.allocations }

// columns are the heads of a scenario's table.
func (m *measured) columns() []string {
	switch {
	case m.rate == 0:
		return []string{"target", "requests/s", "of direct", "of net/http proxy", "of nginx", "p50 µs", "p99 µs", "CPU µs/request", "CPU of net/http proxy's", "allocations", "RSS MB", "bad"}
	case m.scenario.stream:
		return []string{"target", "chunk transit p50 µs", "p99 µs", "added p50", "added p99", "CPU µs/stream", "CPU µs/chunk", "allocations", "RSS MB", "bad"}
	}
	return []string{"target", "p50 µs", "p99 µs", "added p50", "added p99", "CPU µs/request", "CPU of net/http proxy's", "allocations", "RSS MB", "bad"}
}

// row is one target's line under columns.
func (m *measured) row(name string) []string {
	of := m.slices[name]
	number := func(value func(slice) float64) string { return fmt.Sprintf("%.0f", median(of, value)) }
	added := func(value func(slice) float64) string {
		if name == target.Direct {
			return "–"
		}
		return fmt.Sprintf("%.0f", m.added(name, value))
	}
	allocated := number(allocationsOf)
	if median(of, allocationsOf) < 0 {
		allocated = "–"
	}
	end := []string{allocated, fmt.Sprintf("%.0f", float64(of[len(of)-1].rss)/1e6), m.bad(name)}
	switch {
	case m.rate == 0:
		return append([]string{name, number(perSecond), m.ratio(name, target.Direct, perSecond), m.ratio(name, target.Proxy, perSecond),
			m.ratio(name, target.Nginx, perSecond), number(p50), number(p99), number(cpu), m.ratio(name, target.Proxy, cpu)}, end...)
	case m.scenario.stream:
		perChunk := fmt.Sprintf("%.1f", median(of, cpu)/float64(m.scenario.chunks))
		return append([]string{name, number(transit50), number(transit99), added(transit50), added(transit99), number(cpu), perChunk}, end...)
	}
	return append([]string{name, number(p50), number(p99), added(p50), added(p99), number(cpu), m.ratio(name, target.Proxy, cpu)}, end...)
}

// bad says how many answers were wrong, and whether requests had to wait for a connection, which makes latencies
// those of an overloaded target.
func (m *measured) bad(name string) string {
	bad, done, queued := 0, 0, 0
	for _, s := range m.slices[name] {
		bad, done, queued = bad+s.bad, done+s.done, max(queued, s.queued)
	}
	text := fmt.Sprintf("%d of %d", bad, done+bad)
	if queued > 0 {
		text += fmt.Sprintf(" (up to %d queued)", queued)
	}
	return text
}

func (m *measured) title() string {
	if !strings.Contains(m.scenario.title, "%s") {
		return m.scenario.title
	}
	return fmt.Sprintf(m.scenario.title, fmt.Sprintf("%.0f/s", m.rate))
}

// printScenario shows a scenario's table as soon as it is there.
func printScenario(w io.Writer, b *bench, m *measured) {
	fmt.Fprintf(w, "\n%s\n", m.title())
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, strings.Join(m.columns(), "\t"))
	for _, t := range b.of(m.scenario) {
		fmt.Fprintln(tw, strings.Join(m.row(t.Name), "\t"))
	}
	tw.Flush()
	for _, t := range b.of(m.scenario) {
		for _, s := range m.slices[t.Name] {
			if s.firstBad != "" {
				fmt.Fprintf(w, "%s, the first bad answer: %s\n", t.Name, s.firstBad)
				break
			}
		}
	}
}

// report is what BENCHMARKS.md says.
type report struct {
	bench   *bench
	started time.Time
	memory  []held
	inside  []inside
}

// method is how it was measured, for a reader who doubts it.
const method = `A single-threaded mock provider and MCP server answers canned bodies; a single-threaded generator (epoll, timerfd) sends to
it directly and through each target, open loop at a constant rate with latencies from the intended send time, or closed loop
for the maximum. Targets take turns in random order within each of %d rounds of %s slices; figures are medians over the rounds,
'added' is the median of the differences to the direct call of the same round, and CPU is the target's processes' from /proc
(for 'direct' the mock's). Load generator, mock and target share the machine, so trust ratios more than times: tollgate runs with key,
ten rules, four limits, prices, ledger, metrics and sampled traces on; the net/http proxy, nginx and the relay, which is a front
that keeps params as bytes and mcp-go's client transport behind it, govern nothing.
`

func (r *report) write() error {
	for _, h := range r.memory {
		fmt.Println(h)
	}
	fmt.Print(r.summary())
	if r.bench.opts.out == "" {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Benchmarks\n\nWritten by `make bench` (conformance/bench); the command was `%s`.\n\n%s\n", r.command(), r.machine())
	fmt.Fprintf(&b, method, r.bench.opts.rounds, r.bench.opts.slice)
	b.WriteString(r.summary())
	for _, name := range r.bench.absent {
		fmt.Fprintf(&b, "\n%s was not installed: the floor is missing from this run.\n", name)
	}
	for _, m := range r.bench.results {
		fmt.Fprintf(&b, "\n## %s\n\n", m.title())
		table(&b, m.columns(), func(yield func([]string)) {
			for _, t := range r.bench.of(m.scenario) {
				yield(m.row(t.Name))
			}
		})
	}
	r.writeMemory(&b)
	r.writeInside(&b)
	return os.WriteFile(filepath.Join(r.bench.opts.root, r.bench.opts.out), []byte(b.String()), 0o644)
}

// result is the result of a scenario, nil if it was not measured.
func (r *report) result(name string) *measured {
	for _, m := range r.bench.results {
		if m.scenario.name == name && len(m.slices[target.Tollgate]) > 0 {
			return m
		}
	}
	return nil
}

// summary says the figures that matter most.
func (r *report) summary() string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, "- "+format+"\n", args...) }
	b.WriteString("\n")
	if m := r.result("chat-max"); m != nil {
		say("%.0f chat completions/s at most: %s of the net/http proxy's, %s of nginx's; %.0f µs of CPU each (%s of the proxy's), %.0f allocations",
			median(m.slices[target.Tollgate], perSecond), m.ratio(target.Tollgate, target.Proxy, perSecond), m.ratio(target.Tollgate, target.Nginx, perSecond),
			median(m.slices[target.Tollgate], cpu), m.ratio(target.Tollgate, target.Proxy, cpu), median(m.slices[target.Tollgate], allocationsOf))
	}
	for _, name := range []string{"chat", "chat-busy", "chat-20ms", "chat-48k", "call", "call-10k", "call-legacy", "call-legacy-10k", "list-500"} {
		if m := r.result(name); m != nil {
			say("%s: p50 +%.0f µs, p99 +%.0f µs%s", m.title(), m.added(target.Tollgate, p50), m.added(target.Tollgate, p99), r.like(m))
		}
	}
	for _, name := range []string{"call-max", "call-legacy-max"} {
		if m := r.result(name); m != nil && len(m.slices[target.Relay]) > 0 {
			say("%s: %.0f µs of CPU and %.0f allocations each, %s and %s of the ungoverned mcp-go relay's", m.title(),
				median(m.slices[target.Tollgate], cpu), median(m.slices[target.Tollgate], allocationsOf),
				m.ratio(target.Tollgate, target.Relay, cpu), m.ratio(target.Tollgate, target.Relay, allocationsOf))
		}
	}
	if m := r.result("stream"); m != nil {
		say("%s: each chunk +%.0f µs at p50, +%.0f µs at p99", m.title(), m.added(target.Tollgate, transit50), m.added(target.Tollgate, transit99))
	}
	for _, h := range r.memory {
		if h.target == target.Tollgate {
			say("%s", h)
		}
	}
	return b.String()
}

// like sets what m adds against the scenario it is like.
func (r *report) like(m *measured) string {
	small := r.result(m.scenario.like)
	if small == nil || small.added(target.Tollgate, p50) <= 0 {
		return ""
	}
	return fmt.Sprintf(" (%.2f of what the small one adds)", m.added(target.Tollgate, p50)/small.added(target.Tollgate, p50))
}

func (r *report) command() string {
	return strings.Join(append([]string{"go", "run", "./conformance/bench"}, r.bench.opts.args...), " ")
}

// machine names date, processor, kernel and compiler.
func (r *report) machine() string {
	model := "unknown CPU"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
			}
		}
	}
	kernel := "unknown kernel"
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
	}
	lines := fmt.Sprintf("%s · %s, %d cores · %s · %s", r.started.UTC().Format(time.DateOnly), model, runtime.NumCPU(), kernel, runtime.Version())
	if path, err := exec.LookPath("nginx"); err == nil {
		if version, err := exec.Command(path, "-v").CombinedOutput(); err == nil {
			lines += " · " + strings.TrimSpace(strings.TrimPrefix(string(version), "nginx version: "))
		}
	}
	return lines + "\n"
}

// table writes a Markdown table, numbers to the right.
func table(b *strings.Builder, columns []string, rows func(yield func([]string))) {
	fmt.Fprintf(b, "| %s |\n|---%s|\n", strings.Join(columns, " | "), strings.Repeat("|---:", len(columns)-1))
	rows(func(row []string) { fmt.Fprintf(b, "| %s |\n", strings.Join(row, " | ")) })
}

func (h held) String() string {
	if h.refused != "" {
		return fmt.Sprintf("%s, %s: %s", h.target, h.what, h.refused)
	}
	return fmt.Sprintf("%s, %s: %.1f KB each (%d of them), a fresh process takes %.0f MB", h.target, h.what, float64(h.perStream)/1e3, h.streams, float64(h.idle)/1e6)
}

func (r *report) writeMemory(b *strings.Builder) {
	b.WriteString("\n## memory\n\n")
	table(b, []string{"what", "target", "streams held", "KB per stream", "fresh process, MB"}, func(yield func([]string)) {
		for _, h := range r.memory {
			each := fmt.Sprintf("%.1f", float64(h.perStream)/1e3)
			if h.refused != "" {
				each = "not offered"
			}
			yield([]string{h.what, h.target, fmt.Sprint(h.streams), each, fmt.Sprintf("%.0f", float64(h.idle)/1e6)})
		}
	})
}

func (r *report) writeInside(b *strings.Builder) {
	fmt.Fprintf(b, "\n## in process\n\nThe packages' own benchmarks, `go test -bench . -benchmem -benchtime %s`.\n\n", insideBenchTime)
	table(b, []string{"package, benchmark", "ns", "B", "allocations"}, func(yield func([]string)) {
		for _, l := range r.inside {
			yield([]string{l.pkg + " " + l.name, fmt.Sprintf("%.0f", l.ns), fmt.Sprint(l.bytes), fmt.Sprint(l.allocations)})
		}
	})
}
