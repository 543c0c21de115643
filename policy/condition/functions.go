package condition

import (
	"errors"
	"maps"
	"math"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/expr-lang/expr"
	"golang.org/x/mod/semver"

	"github.com/tollgate/tollgate/policy/glob"
)

// functions are what expressions can call beside the allowed builtins: pure, linear in their arguments, and wrong
// arguments are errors, so that a rule never decides on a misreading.
func functions() []expr.Option {
	return []expr.Option{
		expr.Function("has", has, new(func(any) bool)),
		expr.Function("glob", two("glob", func(p, s string) (any, error) { return glob.Pattern(p).Match(s), nil }), new(func(string, string) bool)),
		expr.Function("hostOf", hostOf, new(func(string) string)),
		expr.Function("cidrMatch", two("cidrMatch", cidrMatch), new(func(string, string) bool)),
		expr.Function("pathWithin", two("pathWithin", pathWithin), new(func(string, string) bool)),
		expr.Function("domainIn", domainIn, new(func(string, any) bool)),
		expr.Function("int", toInt, new(func(any) int)),
		expr.Function("float", toFloat, new(func(any) float64)),
		expr.Function("sum", sum),
		expr.Function("keys", keys, new(func(any) []any)),
		expr.Function("values", values, new(func(any) []any)),
		expr.Function("semver", two("semver", semverMatch), new(func(string, string) bool)),
	}
}

// functionNames is for messages and for telling a call from a variable.
var functionNames = [...]string{"has", "glob", "hostOf", "cidrMatch", "pathWithin", "domainIn", "semver", "int", "float", "sum", "keys", "values"}

// two adapts a function of two texts.
func two(name string, f func(a, b string) (any, error)) func(...any) (any, error) {
	return func(params ...any) (any, error) {
		a, okA := params[0].(string)
		b, okB := params[1].(string)
		if !okA || !okB {
			return nil, &evalError{name + " takes texts"}
		}
		return f(a, b)
	}
}

// has reports whether its path leads to a value; the compiler has made every step of the path optional.
func has(params ...any) (any, error) { return params[0] != nil, nil }

// hostOf returns the host of an absolute URL in lower case, without port and trailing dot.
func hostOf(params ...any) (any, error) {
	text, ok := params[0].(string)
	if !ok {
		return nil, &evalError{"hostOf takes a text"}
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Hostname() == "" {
		return nil, &evalError{"hostOf takes an absolute URL"}
	}
	return domain(u.Hostname()), nil
}

func domain(host string) string { return strings.TrimSuffix(strings.ToLower(host), ".") }

// domainIn reports whether host is one of the domains or below one: domainIn("api.example.com", ["example.com"]).
func domainIn(params ...any) (any, error) {
	host, ok := params[0].(string)
	if !ok || host == "" {
		return nil, &evalError{"domainIn takes a host"}
	}
	host = domain(host)
	switch list := params[1].(type) {
	case string:
		return below(host, list), nil
	case []string:
		for _, d := range list {
			if below(host, d) {
				return true, nil
			}
		}
		return false, nil
	case []any:
		found := false
		for _, item := range list {
			d, ok := item.(string)
			if !ok {
				return nil, &evalError{"domainIn takes domains that are texts"}
			}
			found = found || below(host, d)
		}
		return found, nil
	}
	return nil, &evalError{"domainIn takes a domain or a list of domains"}
}

func below(host, d string) bool {
	d = domain(d)
	return d != "" && (host == d || strings.HasSuffix(host, d) && host[len(host)-len(d)-1] == '.')
}

// cidrMatch reports whether address ip lies in a block such as 10.0.0.0/8. An IPv4 address written as IPv6 is itself.
func cidrMatch(cidr, ip string) (any, error) {
	block, err := netip.ParsePrefix(cidr)
	if err != nil {
		return nil, &evalError{"cidrMatch takes a block such as 10.0.0.0/8 first"}
	}
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return nil, &evalError{"cidrMatch takes an address second"}
	}
	return block.Masked().Contains(addr.WithZone("").Unmap()), nil
}

// pathWithin reports whether the absolute path p, with . and .. resolved, is base or below it. It knows nothing of links.
func pathWithin(base, p string) (any, error) {
	for _, s := range [...]string{base, p} {
		if !strings.HasPrefix(s, "/") || strings.ContainsAny(s, "\\\x00") {
			return nil, &evalError{"pathWithin takes absolute paths with / between their parts"}
		}
	}
	base, p = path.Clean(base), path.Clean(p)
	return base == "/" || p == base || strings.HasPrefix(p, base+"/"), nil
}

// semverMatch reports whether version fits every part of a constraint such as ">=1.2.0 <2".
func semverMatch(version, constraint string) (any, error) {
	v := canonical(version)
	if v == "" {
		return nil, &evalError{"semver takes a version such as 1.2.3 first"}
	}
	parts := strings.Fields(constraint)
	if len(parts) == 0 {
		return nil, &evalError{`semver takes a constraint such as ">=1.2.0 <2" second`}
	}
	fits := true
	for _, part := range parts {
		number := strings.TrimLeft(part, "<>=")
		want := canonical(number)
		if want == "" {
			return nil, &evalError{`semver takes a constraint such as ">=1.2.0 <2" second`}
		}
		cmp := semver.Compare(v, want)
		switch part[:len(part)-len(number)] {
		case "=", "==", "":
			fits = fits && cmp == 0
		case ">":
			fits = fits && cmp > 0
		case ">=":
			fits = fits && cmp >= 0
		case "<":
			fits = fits && cmp < 0
		case "<=":
			fits = fits && cmp <= 0
		default:
			return nil, &evalError{"semver knows =, >, >=, < and <="}
		}
	}
	return fits, nil
}

// canonical returns version with the v that the semver package wants, or nothing.
func canonical(version string) string {
	v := "v" + strings.TrimPrefix(version, "v")
	if !semver.IsValid(v) {
		return ""
	}
	return v
}

// toInt is int(x): a whole number, or the text of one.
func toInt(params ...any) (any, error) {
	switch x := params[0].(type) {
	case int:
		return x, nil
	case float64:
		if x == math.Trunc(x) && math.Abs(x) < 1<<63 {
			return int(x), nil
		}
	case string:
		if n, err := strconv.Atoi(x); err == nil && n != math.MinInt {
			return n, nil
		}
	}
	return nil, &evalError{"int takes a whole number"}
}

// toFloat is float(x): a number, or the text of one.
func toFloat(params ...any) (any, error) {
	switch x := params[0].(type) {
	case int:
		return float64(x), nil
	case float64:
		return x, nil
	case string:
		if f, err := strconv.ParseFloat(x, 64); err == nil && finite(f) {
			return f, nil
		}
	}
	return nil, &evalError{"float takes a number"}
}

// sum adds up a list of numbers.
func sum(params ...any) (any, error) {
	var total any = 0
	add := func(x any) (err error) {
		total, err = arithmetic("+", total, x)
		return err
	}
	switch list := params[0].(type) {
	case []any:
		for _, x := range list {
			if err := add(x); err != nil {
				return nil, err
			}
		}
		return total, nil
	case []int:
		for _, x := range list {
			if err := add(x); err != nil {
				return nil, err
			}
		}
		return total, nil
	}
	return nil, &evalError{"sum takes a list of numbers"}
}

// keys and values list an object in the order of its names, so that a decision can be repeated.
func keys(params ...any) (any, error) {
	object, ok := params[0].(map[string]any)
	if !ok {
		return nil, &evalError{"keys takes an object"}
	}
	out := make([]any, 0, len(object))
	for _, name := range slices.Sorted(maps.Keys(object)) {
		out = append(out, name)
	}
	return out, nil
}

func values(params ...any) (any, error) {
	object, ok := params[0].(map[string]any)
	if !ok {
		return nil, &evalError{"values takes an object"}
	}
	out := make([]any, 0, len(object))
	for _, name := range slices.Sorted(maps.Keys(object)) {
		out = append(out, object[name])
	}
	return out, nil
}

func finite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

// evalError is an evaluation's own failure. Its text names arguments, never their values, and may be shown to the caller.
type evalError struct{ text string }

func (e *evalError) Error() string { return e.text }

// Cause returns the part of an evaluation's error that may be shown to the caller: it names arguments and no values.
func Cause(err error) string {
	if own := (*evalError)(nil); errors.As(err, &own) {
		return own.text
	}
	return "a value has the wrong type or is out of range"
}
