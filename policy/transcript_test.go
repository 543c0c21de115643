package policy

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/tollgate/tollgate/internal/strictyaml"
)

var update = flag.Bool("update", false, "write what the transcripts say now")

// person is a principal in a transcript.
type person struct {
	Team     string   `yaml:"team"`
	Customer string   `yaml:"customer"`
	User     string   `yaml:"user"`
	Client   string   `yaml:"client"`
	Tags     []string `yaml:"tags"`
	Groups   []string `yaml:"groups"`
	Tools    string   `yaml:"tools"`
	Models   string   `yaml:"models"`
}

// Each archive in testdata/decide holds policy files, people, and calls: a line that says who calls what, and below it,
// indented, what is decided.
func TestDecisions(t *testing.T) {
	transcripts(t, "testdata/decide", func(t *testing.T, a *txtar.Archive) {
		calls := part(a, "calls")
		if calls == nil {
			t.Fatal("no calls")
		}
		set, err := Compile("rev", policyFiles(a), Options{CheckLimit: fakeLimit})
		if err != nil {
			t.Fatal(err)
		}
		people := principals(t, a)
		var out bytes.Buffer
		for line := range strings.Lines(string(calls.Data)) {
			switch {
			case strings.TrimSpace(line) == "" || line[0] == '#':
				out.WriteString(line)
			case line[0] != ' ' && line[0] != '\t':
				c := parseCall(t, strings.TrimSpace(line), people)
				fmt.Fprintf(&out, "%s    %s\n", line, describe(t, set, c))
			}
		}
		calls.Data = out.Bytes()
	})
}

// Each archive in testdata/refused holds policy files that do not load, and what is said about them.
func TestRefusedFiles(t *testing.T) {
	transcripts(t, "testdata/refused", func(t *testing.T, a *txtar.Archive) {
		_, err := Compile("rev", policyFiles(a), Options{CheckLimit: fakeLimit})
		if err == nil {
			t.Fatal("the files load")
		}
		part(a, "errors").Data = []byte(err.Error() + "\n")
	})
}

func transcripts(t *testing.T, dir string, run func(*testing.T, *txtar.Archive)) {
	names, err := filepath.Glob(dir + "/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no transcripts in %s: %v", dir, err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			before := txtar.Format(a)
			run(t, a)
			after := txtar.Format(a)
			if *update {
				writeFile(t, name, after)
			} else if !bytes.Equal(before, after) {
				t.Errorf("run with -update and look at the difference; got\n%s", after)
			}
		})
	}
}

func part(a *txtar.Archive, name string) *txtar.File {
	for i := range a.Files {
		if a.Files[i].Name == name {
			return &a.Files[i]
		}
	}
	return nil
}

func policyFiles(a *txtar.Archive) map[string][]byte {
	files := map[string][]byte{}
	for _, f := range a.Files {
		if isPolicyFile(f.Name) && f.Name != "people.yaml" {
			files[f.Name] = f.Data
		}
	}
	return files
}

func principals(t *testing.T, a *txtar.Archive) map[string]*Principal {
	t.Helper()
	people := map[string]person{}
	if f := part(a, "people.yaml"); f != nil {
		if err := strictyaml.Unmarshal(f.Name, f.Data, &people); err != nil {
			t.Fatal(err)
		}
	}
	out := map[string]*Principal{}
	for name, p := range people {
		narrow, err := CompileFilter(p.Tools, p.Models)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = &Principal{
			Key: name, KeyID: "id-" + name, Team: p.Team, Customer: p.Customer, User: p.User, Client: p.Client,
			Tags: p.Tags, Groups: p.Groups, Narrow: narrow,
		}
	}
	return out
}

// A call: mary github/create_issue [read_only trusted] {"repo":"x"} at 2026-01-31T09:00Z cost 0.5 spent 24 untrusted
// A last word task asks for the state of a task that such a call has made.
var callShape = regexp.MustCompile(`^(\S+) (model )?(\S+)(?: \[([^]]*)\])?(?: (\{.*\}))?((?: (?:at \S+|cost \S+|spent \S+|untrusted|task))*)$`)

func parseCall(t *testing.T, line string, people map[string]*Principal) *Call {
	t.Helper()
	m := callShape.FindStringSubmatch(line)
	if m == nil || people[m[1]] == nil {
		t.Fatalf("cannot read the call %q", line)
	}
	c := &Call{Principal: people[m[1]], Action: ToolCall, Args: []byte(m[5]), Now: time.Date(2026, 1, 28, 12, 0, 0, 0, time.UTC)}
	c.Upstream, c.Target, _ = strings.Cut(m[3], "/")
	if m[2] != "" {
		c.Action = Chat
		c.Model = &Model{Provider: c.Upstream, Name: c.Target}
	} else {
		c.Tool = toolOf(c.Upstream, c.Target, m[4])
	}
	words := strings.Fields(m[6])
	for i, w := range words {
		switch w {
		case "at":
			now, err := time.Parse("2006-01-02T15:04Z07:00", words[i+1])
			if err != nil {
				t.Fatal(err)
			}
			c.Now = now
		case "cost":
			c.EstCost = int64(dollars(t, words[i+1]) * nanoPerUSD)
		case "spent":
			c.Spend = &Spend{KeyToday: dollars(t, words[i+1])}
		case "untrusted":
			c.Run = &Run{ID: "run", SawUntrusted: true}
		case "task":
			c.Action = TaskGet
		}
	}
	return c
}

func dollars(t *testing.T, s string) float64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// toolOf makes a tool with the pessimistic defaults of an untrusted server, but for the flags.
func toolOf(server, name, flags string) *Tool {
	out := &Tool{Server: server, Name: name, Kind: "tool", Destructive: true, OpenWorld: true}
	for _, kind := range []string{"resource", "prompt"} {
		if rest, ok := strings.CutPrefix(name, kind+":"); ok {
			out.Kind, out.Name = kind, rest
		}
	}
	for _, f := range strings.Fields(flags) {
		switch f {
		case "read_only":
			out.ReadOnly, out.Destructive = true, false
		case "closed":
			out.OpenWorld = false
		case "trusted":
			out.Trusted = true
		}
	}
	return out
}

// describe decides a call and says the answer in one line. It also holds what is true of every decision.
func describe(t *testing.T, s *Set, c *Call) string {
	t.Helper()
	d := s.Decide(c)
	checkInvariants(t, s, c, d)
	var out strings.Builder
	switch {
	case d.Hidden:
		out.WriteString("hidden")
	default:
		out.WriteString([]string{"deny", "approve", "allow"}[d.Effect])
	}
	if len(d.Rules) > 0 {
		out.WriteString(" by " + strings.Join(d.Rules, " "))
	}
	for _, l := range d.Limits {
		fmt.Fprintf(&out, " with %s (%s per %s)", l.Rule, l.Limit, l.Per)
	}
	if d.Message != "" {
		out.WriteString(": " + d.Message)
	}
	return out.String()
}

func checkInvariants(t *testing.T, s *Set, c *Call, d Decision) {
	t.Helper()
	visible := s.Visible(c)
	switch {
	case d.Effect != Deny && !visible:
		t.Errorf("callable but not listed: %+v", c)
	case d.Hidden == visible:
		t.Errorf("hidden is %v, visible is %v", d.Hidden, visible)
	case d.Effect == Deny && (d.Message == "" || len(d.Limits) > 0):
		t.Errorf("a denial without a reason, or with limits: %+v", d)
	case d.Effect != Deny && len(d.Rules) == 0:
		t.Errorf("allowed by no rule: %+v", d)
	case d.Revision != s.Revision():
		t.Errorf("revision %q", d.Revision)
	}
}

func fakeLimit(text string) error {
	if !strings.Contains(text, " / ") && !strings.HasSuffix(text, " concurrent") {
		return errors.New("limit " + strconv.Quote(text) + ": a limit is written <amount> <unit> / <window>")
	}
	return nil
}
