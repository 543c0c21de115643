package strictyaml

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

type server struct {
	URL     string            `yaml:"url"`
	Command []string          `yaml:"command"`
	Timeout time.Duration     `yaml:"timeout"`
	Retries int               `yaml:"retries"`
	Headers map[string]string `yaml:"headers"`
	Trusted *bool             `yaml:"trusted"`
	Price   price             `yaml:"price"`
	Auth    auth              `yaml:"auth"`
	Any     any               `yaml:"any"`
	Level   level             `yaml:"level"`
	Raw     yaml.Node         `yaml:"raw"`
	Skipped string            `yaml:"-"`
	shared  `yaml:",inline"`
}

type shared struct {
	Note string
}

// price is read from one text.
type price struct{ cents int }

func (p *price) UnmarshalYAML(n *yaml.Node) error {
	if _, err := fmt.Sscanf(n.Value, "%d cents", &p.cents); err != nil {
		return fmt.Errorf("a price is written N cents")
	}
	return nil
}

// auth is a word or a mapping that is read strictly itself.
type auth struct {
	Kind  string `yaml:"kind"`
	Scope string `yaml:"scope"`
}

func (a *auth) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		a.Kind = n.Value
		return nil
	}
	type plain auth
	return Node(n, (*plain)(a))
}

type level int

func (l *level) UnmarshalText(text []byte) error {
	if string(text) != "high" {
		return errors.New("a level is high")
	}
	*l = 9
	return nil
}

func TestUnmarshal(t *testing.T) {
	var got map[string]server
	err := Unmarshal("x.yaml", []byte(`
a:
  url: http://x
  command: [npx, "-y"]
  timeout: 30s
  retries: 3
  headers: {A: b}
  trusted: false
  price: 5 cents
  auth: {kind: oauth, scope: s}
  any: {a: [1, {b: true}]}
  level: high
  note: inlined
b: {auth: none}
`), &got)
	if err != nil {
		t.Fatal(err)
	}
	no := false
	a := server{
		URL: "http://x", Command: []string{"npx", "-y"}, Timeout: 30 * time.Second, Retries: 3, Headers: map[string]string{"A": "b"},
		Trusted: &no, Price: price{5}, Auth: auth{"oauth", "s"}, Any: map[string]any{"a": []any{1, map[string]any{"b": true}}},
		Level: 9, shared: shared{"inlined"},
	}
	if want := map[string]server{"a": a, "b": {Auth: auth{Kind: "none"}}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestFindings(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"a: {ulr: x}", `f:1: unknown key "ulr" (did you mean "url"?)`},
		{"a: {zzzzzzzz: x}", `f:1: unknown key "zzzzzzzz"`},
		{"a: {Skipped: x, skipped: x}", "f:1: unknown key \"Skipped\"\nf:1: unknown key \"skipped\""},
		{"a: {url: x}\nb: {}\na: {}", `f:3: key "a" again: it is on line 1 already`},
		{"a:\n  url: x\n  url: y", `f:3: key "url" again: it is on line 2 already`},
		{"a:\n  headers:\n    A: b\n    A: c", `f:4: key "A" again: it is on line 3 already`},
		{"a:\n  any: {x: 1, x: 2}", `f:2: key "x" again: it is on line 2 already`},
		{"a:\n  url:", `f:2: "url" has no value: give it one or remove the key`},
		{"a:", `f:1: "a" has no value: give it one or remove the key`},
		{"a: {command: [x, ~]}", `f:1: an item of the list has no value`},
		{"a: {retries: many}", `f:1: expected a whole number, found "many"`},
		{"a: {retries: 1.5}", `f:1: expected a whole number, found "1.5"`},
		{"a: {retries: 1e3}", `f:1: expected a whole number, found "1e3"`},
		{"a: {timeout: 30}", `f:1: expected a duration such as 30s or 5m, found "30"`},
		{"a: {timeout: soon}", `f:1: expected a duration such as 30s or 5m, found "soon"`},
		{"a: {trusted: maybe}", `f:1: expected true or false, found "maybe"`},
		{"a: {url: [x]}", `f:1: expected text, found a list`},
		{"a: {command: x}", `f:1: expected a list, found "x"`},
		{"a: {headers: [x]}", `f:1: expected keys and values, found a list`},
		{"- a", `f:1: expected keys and values, found a list`},
		{"a:\n  price: 5 euros", `f:2: a price is written N cents`},
		{"a:\n  auth:\n    kynd: x\n    scope: [x]", "f:3: unknown key \"kynd\" (did you mean \"kind\"?)\nf:4: expected text, found a list"},
		{"a:\n  level: low", `f:2: a level is high`},
		{"a:\n  level: [high]", `f:2: expected text, found a list`},
		{"a: &x {url: x}\nb: *x", "f:1: anchors and aliases are not read: write the value out\nf:2: anchors and aliases are not read: write the value out"},
		{"a:\n  <<: {url: x}", `f:2: merge keys are not read: write the values out`},
		{"a: {[1]: x}", `f:1: a key must be plain text, found a list`},
		{"a: {}\n---\nb: {}", `f:2: a second document: write one document per file`},
		{"a: [", `f:1: did not find expected node content`},
		{"a: {url: x\nb", `f:2: did not find expected ',' or '}'`},
		{"\ta: b", `f:1: found character that cannot start any token`},
		{"a: {any: " + strings.Repeat("[", 99) + strings.Repeat("]", 99) + "}", `f:1: nested deeper than 64`},
		{"a: \xff", `f:1: invalid leading UTF-8 octet`},
	} {
		var got map[string]server
		err := Unmarshal("f", []byte(c.in), &got)
		if err == nil {
			t.Errorf("%q was taken", c.in)
			continue
		}
		if err.Error() != c.want {
			t.Errorf("%q\n got %s\nwant %s", c.in, err, c.want)
		}
		if own := (*Error)(nil); !errors.As(err, &own) || own.File != "f" {
			t.Errorf("%q: not one of ours: %#v", c.in, err)
		}
	}
}

func TestNothingWritten(t *testing.T) {
	for _, in := range []string{"", "# only a comment\n", "---\n", "~"} {
		got := map[string]server{"kept": {}}
		if err := Unmarshal("f", []byte(in), &got); err != nil || len(got) != 1 {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"effect", "tools", "models", "when", "if", "message", "limit", "per", "id"}
	for word, want := range map[string]string{
		"efect": "effect", "tool": "tools", "Models": "models", "wehn": "when", "iff": "if", "msg": "", "zzz": "", "limits": "limit",
		"": "", strings.Repeat("x", 999): "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}

// Any text is read or refused, and each finding has its place.
func FuzzUnmarshal(f *testing.F) {
	for _, seed := range []string{"a: {url: x}", "a: [", "a: &x 1\nb: *x", "a:\n  any: [1, {b: ~}]", "? [a]\n: b", "a: !!binary x", "%YAML 1.1\n---\na: 1", "a: {price: 5 cents, raw: [x]}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var got map[string]server
		err := Unmarshal("f", in, &got)
		many, ok := err.(interface{ Unwrap() []error })
		if err == nil || !ok {
			if err != nil {
				t.Fatalf("not a list of findings: %#v", err)
			}
			return
		}
		for _, e := range many.Unwrap() {
			if own, ok := e.(*Error); !ok || own.Line < 1 || own.Text == "" {
				t.Fatalf("a finding without a place: %#v", e)
			}
		}
	})
}
