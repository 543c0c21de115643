package house

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// mayImport says which packages of the project each top-level directory may import, beside itself. internal is below
// all and need not be named. Change it on purpose only: the arrows are the design.
//
//	policy ◀ ledger ◀ gate ◀ oauth ◀ { llm, mcp, console } ◀ cmd/tollgate
//	sandbox ◀ { codemode, mcp } ◀ cmd/tollgate
var mayImport = map[string][]string{
	"policy":      {},
	"ledger":      {"policy"},
	"gate":        {"policy", "ledger"},
	"oauth":       {"policy", "ledger", "gate"},
	"llm":         {"policy", "ledger", "gate", "oauth"},
	"mcp":         {"policy", "ledger", "gate", "oauth", "sandbox"},
	"console":     {"policy", "ledger", "gate", "oauth"},
	"sandbox":     {},
	"codemode":    {"policy", "ledger", "gate", "sandbox"},
	"cmd":         {"policy", "ledger", "gate", "oauth", "llm", "mcp", "console", "sandbox", "codemode"},
	"conformance": {"policy", "ledger", "gate", "oauth", "llm", "mcp", "console", "sandbox", "codemode"},
	"examples":    {"policy", "ledger", "gate", "oauth", "llm", "mcp", "console", "sandbox", "codemode"},
	"internal":    {},
}

// onlyBy says which directories may import a module or a package of the standard library; the longest matching path
// counts. A directory covers those below it.
var onlyBy = map[string][]string{
	"github.com/mark3labs/mcp-go":         {"mcp", "internal/mcptest"},
	"github.com/expr-lang/expr":           {"policy"},
	"modernc.org/sqlite":                  {"ledger"},
	"github.com/dgraph-io/ristretto/v2":   {"oauth", "policy", "mcp", "llm"},
	"github.com/jackc/pgx/v5":             {"internal/postgres", "ledger", "oauth"},
	"github.com/spf13/cobra":              {"cmd"},
	"go.yaml.in/yaml/v3":                  {"cmd", "policy", "internal", "conformance"},
	"github.com/twmb/franz-go":            {"ledger/sink/kafka"},
	"go.opentelemetry.io/proto/otlp":      {"ledger/sink/otlp"},
	"github.com/fsnotify/fsnotify":        {"cmd"},
	"github.com/prometheus/client_golang": {"cmd", "internal/telemetry"},
	"go.opentelemetry.io/otel/sdk":        {"cmd", "internal/telemetry"},
	"go.opentelemetry.io/otel/exporters":  {"cmd", "internal/telemetry"},
	"os/exec":                             {"sandbox", "conformance"},
	"net/http/httputil":                   {},
	"net/http/httptest":                   {},
	"net/rpc":                             {},
	"plugin":                              {},
	"unsafe":                              {},
	"encoding/gob":                        {},
}

// sdkPackage is the MCP SDK's vocabulary; its own name is that of our package, so it is always imported as sdk.
const sdkPackage = "github.com/mark3labs/mcp-go/mcp"

// bannedNames are package names that say nothing of what is inside.
var bannedNames = []string{"config", "models", "types", "utils", "util", "common", "server", "service", "pkg", "api", "helpers", "helper", "data", "info", "misc"}

// Imports holds the import order: the table above, who may use which module, and that fakes stay in tests.
func Imports(t *Tree) []Finding {
	var out []Finding
	for _, f := range t.Files {
		add := func(line int, format string, args ...any) {
			out = append(out, Finding{"imports", f.Path, line, fmt.Sprintf(format, args...)})
		}
		if f.Dir != "" && !known(f.Top()) {
			add(0, "directory %s is not in the import table", f.Top())
		}
		if slices.Contains(bannedNames, f.Syntax.Name.Name) {
			add(f.Line(f.Syntax.Name.Pos()), "a package named %s says nothing of what is in it", f.Syntax.Name.Name)
		}
		for _, spec := range f.Syntax.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				continue
			}
			name := ""
			if spec.Name != nil {
				name = spec.Name.Name
			}
			if why := refused(f, p, name); why != "" {
				add(f.Line(spec.Pos()), "%s", why)
			}
		}
	}
	return out
}

func known(dir string) bool { _, ok := mayImport[dir]; return ok }

// refused says why f may not import p under name, or nothing.
func refused(f *File, p, name string) string {
	if name == "." {
		return "no dot imports"
	}
	if p == sdkPackage && name != "sdk" && name != "_" {
		return "the MCP SDK is imported as sdk"
	}
	if own, ok := strings.CutPrefix(p, Module+"/"); ok {
		return refusedOwn(f, own)
	}
	if f.Test || fake(f.Dir) {
		return ""
	}
	longest := ""
	for module := range onlyBy {
		if (p == module || strings.HasPrefix(p, module+"/")) && len(module) > len(longest) {
			longest = module
		}
	}
	if longest == "" || slices.ContainsFunc(onlyBy[longest], func(dir string) bool { return within(f.Dir, dir) }) {
		return ""
	}
	return fmt.Sprintf("%s is imported by %s only", longest, orNobody(onlyBy[longest]))
}

func refusedOwn(f *File, own string) string {
	if fake(own) && !f.Test && !fake(f.Dir) && f.Top() != "conformance" {
		return own + " is a fake: tests only"
	}
	if f.Test && strings.HasSuffix(f.Syntax.Name.Name, "_test") && f.Top() != "policy" && f.Top() != "internal" {
		return "" // an outside test may use whatever it likes to stand on
	}
	from, to := f.Top(), top(own)
	if to == from || to == "internal" || slices.Contains(mayImport[from], to) {
		return ""
	}
	if fake(f.Dir) && to != "cmd" {
		return ""
	}
	return fmt.Sprintf("%s may not import %s", from, to)
}

// fake reports whether dir holds a fake for tests: internal/mcptest, internal/llmtest.
func fake(dir string) bool {
	rest, ok := strings.CutPrefix(dir, "internal/")
	return ok && strings.HasSuffix(top(rest), "test")
}

func within(dir, parent string) bool {
	return dir == parent || strings.HasPrefix(dir, parent+"/")
}

func orNobody(dirs []string) string {
	if len(dirs) == 0 {
		return "nobody"
	}
	return strings.Join(dirs, ", ")
}
