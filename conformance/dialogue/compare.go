package dialogue

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Difference is one place where two exchanges are not the same.
type Difference struct {
	Path    string // such as response.result.content[0].text
	Direct  string // raw value there; empty: there is none
	Through string
}

func (d Difference) String() string {
	shown := func(s string) string {
		if s == "" {
			return "nothing"
		}
		return s
	}
	return fmt.Sprintf("%s: %s became %s", d.Path, shown(d.Direct), shown(d.Through))
}

// Compare lists where an exchange through a gateway differs from the same one without. Values are compared as they were
// written, numbers digit by digit; white space, the order of members and escapes of text are not compared.
func Compare(direct, through *Exchange) []Difference {
	a, b := direct.flat(), through.flat()
	var out []Difference
	paths := slices.Sorted(maps.Keys(a))
	for path := range b {
		if _, ok := a[path]; !ok {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	for _, path := range paths {
		if a[path] != b[path] {
			out = append(out, Difference{path, a[path], b[path]})
		}
	}
	return out
}

// flat maps the paths of an exchange's leaves to their raw values.
func (x *Exchange) flat() map[string]string {
	out := map[string]string{"status": fmt.Sprint(x.Status)}
	for name, list := range map[string][]json.RawMessage{"notifications": x.Notifications, "questions": x.Questions} {
		for i, m := range list {
			flatten(out, fmt.Sprintf("%s[%d]", name, i), m)
		}
	}
	if x.Response != nil {
		flatten(out, "response", x.Response)
		delete(out, "response.id") // is that of the request, and how many there were depends on pages and rounds
	}
	return out
}

// flatten adds the leaves of a raw value. An empty object or array is a leaf.
func flatten(out map[string]string, path string, raw json.RawMessage) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		out[path] = "no JSON: " + string(raw)
		return
	}
	leaves(out, path, v)
}

func leaves(out map[string]string, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 {
			out[path] = "{}"
		}
		for name, member := range v {
			leaves(out, path+"."+name, member)
		}
	case []any:
		if len(v) == 0 {
			out[path] = "[]"
		}
		for i, item := range v {
			leaves(out, fmt.Sprintf("%s[%d]", path, i), item)
		}
	case json.Number:
		out[path] = v.String()
	default:
		b, err := json.Marshal(v)
		if err != nil {
			panic(err) // it was decoded
		}
		out[path] = string(b)
	}
}

// Matches reports whether path is one that pattern means: * stands for any text.
func Matches(pattern, path string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == path
	}
	if !strings.HasPrefix(path, parts[0]) {
		return false
	}
	path = path[len(parts[0]):]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(path, part)
		if i < 0 {
			return false
		}
		path = path[i+len(part):]
	}
	return strings.HasSuffix(path, parts[len(parts)-1])
}
