package glob

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern Pattern
		yes, no string // names, separated by spaces
	}{
		{"*", "a a/b a/b/c", ""},
		{"github/*", "github/x github/x/y", "github git/github/x GitHub/x"},
		{"github/create_issue", "github/create_issue", "github/create_issues github/create"},
		{"*/delete_*", "a/delete_x a/b/delete_ x/y/delete_/z", "delete_x a/deletex"},
		{"a*b*c", "abc aXbYc abbc", "ab acb bc abcd"},
		{"*a*a*", "aa xaxax", "a xax"},
		{"ab*ba", "abba abxba", "aba"},
		{"s/resource:file:///a?b=*", "s/resource:file:///a?b=1", "s/resource:file:///aXb=1"},
		{"**", "a ab/c", ""},
	} {
		for _, name := range strings.Fields(c.yes) {
			if !c.pattern.Match(name) {
				t.Errorf("%q must match %q", c.pattern, name)
			}
		}
		for _, name := range strings.Fields(c.no) {
			if c.pattern.Match(name) {
				t.Errorf("%q must not match %q", c.pattern, name)
			}
		}
	}
}

func TestOverlaps(t *testing.T) {
	for _, c := range []struct {
		p, q Pattern
		want bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a/c", false}, {"*", "a/b", true}, {"a/*", "*/b", true}, {"a/*", "b/*", false},
		{"a*c", "ab*", true}, {"a*c", "*d", false}, {"*x*", "a/*", true}, {"", "*", true}, {"", "a", false}, {"a*b", "a", false},
		{"abc", "a*b", false}, {"*a", "b*", true}, {"**", "", true},
	} {
		if got := c.p.Overlaps(c.q); got != c.want {
			t.Errorf("%q and %q: got %v", c.p, c.q, got)
		}
		if got := c.q.Overlaps(c.p); got != c.want {
			t.Errorf("%q and %q: got %v", c.q, c.p, got)
		}
	}
}

// A pattern that can match nothing is refused.
func TestCheck(t *testing.T) {
	for _, p := range []string{"*", "github/*", "github/x", "*/x", "git*", "*__x", "github/x__y", "s/resource:a__b"} {
		if err := Check(p, "tools"); err != nil {
			t.Errorf("%q: %v", p, err)
		}
	}
	for _, p := range []string{"", "github", "github__x", "github__*", "/x", "github/", strings.Repeat("x/", PatternBytesMax)} {
		if Check(p, "tools") == nil {
			t.Errorf("%q was taken", p)
		}
	}
	if err := Check("gpt__5", "models"); err == nil || !strings.Contains(err.Error(), "provider/model") {
		t.Errorf("got %v", err)
	}
}

// The matcher agrees with a regular expression, the index with the matcher, and two patterns that match one name overlap.
func FuzzGlob(f *testing.F) {
	f.Add("github/*", "*/create", "github/create")
	f.Add("a*b*c", "a*", "abbc")
	f.Add("", "**", "")
	f.Fuzz(func(t *testing.T, p, q, name string) {
		match := func(p string) bool {
			return regexp.MustCompile(`(?s)\A` + strings.ReplaceAll(regexp.QuoteMeta(p), `\*`, `.*`) + `\z`).MatchString(name)
		}
		if len(p)+len(q)+len(name) > 200 || !utf8.ValidString(p) || !utf8.ValidString(q) || !utf8.ValidString(name) {
			return
		}
		var want []int
		x := NewIndex()
		for i, text := range []string{p, q} {
			x.Add(Pattern(text), i)
			if Pattern(text).Match(name) != match(text) {
				t.Fatalf("%q on %q: got %v", text, name, !match(text))
			}
			if match(text) {
				want = append(want, i)
			}
		}
		if got := x.Find(name); !slices.Equal(got, want) {
			t.Fatalf("index: got %v, want %v", got, want)
		}
		if len(want) == 2 && !Pattern(p).Overlaps(Pattern(q)) {
			t.Fatalf("%q and %q overlap in %q", p, q, name)
		}
	})
}

func TestIndexTouchesOnlyWhatMayMatch(t *testing.T) {
	x := NewIndex()
	for i := range 1000 {
		x.Add(Pattern("server"+strings.Repeat("x", i%7)+"/tool*"), i)
		x.Add(Pattern("server"+strings.Repeat("x", i%7)+"/tool*"), i)
	}
	x.Add("other/*", 1000)
	x.Add("*", 1001)
	x.Add("other/one", 1002)
	if got := x.Find("other/one"); !slices.Equal(got, []int{1000, 1001, 1002}) {
		t.Errorf("got %v", got)
	}
	if got := x.Find("serverx/tool"); len(got) != 1000/7+1+1 && len(got) != 1000/7+1 {
		t.Errorf("got %d rules", len(got))
	}
}

func BenchmarkFind(b *testing.B) {
	x := NewIndex()
	for i := range 1000 {
		x.Add(Pattern("server"+strings.Repeat("x", i%7)+"/tool"+string(rune('a'+i%26))), i)
	}
	x.Add("github/*", 1000)
	b.ReportAllocs()
	for b.Loop() {
		x.Find("github/create_issue")
	}
}
