package shape

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/policy"
)

var update = flag.Bool("update", false, "write the golden files anew")

// samples are entries of every kind, as they come.
func samples() []struct {
	name  string
	entry ledger.Entry
} {
	at := time.Date(2026, 11, 24, 7, 30, 0, 123456789, time.UTC)
	id := func(n byte) ledger.ID { return ledger.ID{0x01, 0x9a, 0xb0, 15: n} }
	who := ledger.Who{Customer: "acme", Team: "platform", Key: "ci-bot", KeyID: "k_1", User: "u_7f", Client: "Claude Code"}
	base := func(n byte, k ledger.Kind) ledger.Entry {
		return ledger.Entry{ID: id(n), Time: at, Kind: k, Who: who, Writer: "w", Seq: uint64(n)}
	}
	reserved := base(1, ledger.Reserved)
	reserved.Action, reserved.Upstream, reserved.Target = policy.ToolCall, "github", "github__delete_repo"
	reserved.Rules, reserved.Limits, reserved.Revision = []string{"dev-tools", "search"}, []string{"search/1m"}, "3f2a"
	reserved.Attempt, reserved.Counted, reserved.Hold, reserved.Parent, reserved.Trace = 1, true, 5_000_000, id(9), ledger.TraceID{1, 2}
	reserved.Digest = ledger.Digest{0xaa}
	posted := base(2, ledger.Posted)
	posted.Resolves, posted.Action, posted.Upstream, posted.Target = id(1), policy.Chat, "openai", "gpt-5"
	posted.Cost, posted.Quantities, posted.Status = 1_250_000, ledger.Quantities{InputTokens: 100, OutputTokens: 20}, ledger.OK
	posted.Code, posted.Latency = 200, 1500*time.Millisecond
	failed := posted
	failed.ID, failed.Status, failed.Code, failed.Detail = id(3), ledger.Failed, 529, "overloaded"
	voided := base(4, ledger.Voided)
	voided.Resolves, voided.Action, voided.Status = id(1), policy.ToolCall, ledger.Unsent
	denied := base(5, ledger.Denied)
	denied.Action, denied.Target, denied.Detail, denied.Rules = policy.ToolCall, "github__delete_repo", "rule no-deletes: deletions need a person", []string{"no-deletes"}
	turned := ledger.Entry{ID: id(6), Time: at, Kind: ledger.Denied, Action: policy.Chat, Source: "203.0.113.9", Detail: "no valid key (the last of 12 refusals)", Quantities: ledger.Quantities{Calls: 12}}
	own := ledger.Entry{ID: id(7), Time: at, Kind: ledger.Posted, Action: policy.ServerDiscover, Upstream: "github", OnBehalf: "ci-bot", Status: ledger.OK}
	minted := ledger.Entry{ID: id(8), Time: at, Kind: ledger.Admin, Action: "key.create", Target: "ci-bot", Who: ledger.Who{Key: "admin.sock"}, Status: ledger.OK}
	revoked := minted
	revoked.ID, revoked.Action, revoked.Source = id(9), "key.revoke", "192.0.2.1"
	read := ledger.Entry{ID: id(10), Time: at, Kind: ledger.Admin, Action: "payload.read", Parent: id(1), Target: "call", Status: ledger.OK}
	link := ledger.Entry{ID: id(11), Time: at, Kind: ledger.Link, Action: "link.create", Target: "github", Who: who, Status: ledger.OK}
	approval := ledger.Entry{ID: id(12), Time: at, Kind: ledger.Approval, Parent: id(5), Who: ledger.Who{User: "u_2"}, Detail: "approved"}
	hostile := base(13, ledger.Denied)
	hostile.Action, hostile.Target = policy.ToolCall, "a|b\\c=d\nCEF:0|Evil|E|1|x|y|10|\r\x00\x1b[31m\u2028\u0085é\xff"
	hostile.Detail, hostile.Source = "x=1 act=allowed outcome=Success\nline two \\", "not an address"
	empty := ledger.Entry{ID: id(14), Time: at, Kind: ledger.Posted}
	return []struct {
		name  string
		entry ledger.Entry
	}{
		{"reserved", reserved}, {"posted", posted}, {"failed", failed}, {"voided", voided}, {"denied", denied}, {"turned away", turned}, {"own", own},
		{"key minted", minted}, {"key revoked", revoked}, {"payload read", read}, {"link", link}, {"approval", approval}, {"hostile", hostile}, {"empty", empty},
	}
}

// What each kind of entry becomes stands in testdata. Run with -update after a change on purpose; `make conformance` then
// holds the events against OCSF's published schema.
func TestGolden(t *testing.T) {
	for _, s := range []Shape{Entry, OCSF, CEF} {
		path := "testdata/" + string(s) + ".txtar"
		var got txtar.Archive
		for _, tt := range samples() {
			line, err := s.Append(nil, &tt.entry)
			if err != nil {
				t.Fatal(err)
			}
			if s.JSON() {
				var pretty bytes.Buffer
				if err := json.Indent(&pretty, line, "", "  "); err != nil {
					t.Fatal(err)
				}
				line = pretty.Bytes()
			}
			got.Files = append(got.Files, txtar.File{Name: tt.name, Data: append(line, '\n')})
		}
		if *update {
			if err := os.WriteFile(path, txtar.Format(&got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(txtar.Format(&got))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s, diff)
		}
	}
}

// A line is one line, whatever is in it, and a reader of CEF gets back what was said.
func FuzzOneLine(f *testing.F) {
	for _, seed := range []string{"plain", "a|b=c\\", "\n\r\x00\x7f\u0085\u2028", "\xff\xfe", "outcome=Success act=x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e := ledger.Entry{Kind: ledger.Denied, Action: policy.Action(text), Target: text, Detail: text, Source: text, Who: ledger.Who{Key: text}, Rules: []string{text}}
		for _, s := range []Shape{Entry, OCSF, CEF} {
			line, err := s.Append(nil, &e)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.ContainsAny(line, "\n\r\x00") {
				t.Fatalf("%s: more than a line: %q", s, line)
			}
			if s.JSON() && !json.Valid(line) {
				t.Fatalf("%s: not JSON: %q", s, line)
			}
		}
		line, _ := CEF.Append(nil, &e)
		header, values := parseCEF(t, string(line))
		if header[1] != "Tollgate" || header[6] != cefDenied {
			t.Fatalf("header %q", header)
		}
		if values["outcome"] != "Failure" || values["suser"] != heard(text) {
			t.Fatalf("outcome %q, suser %q", values["outcome"], values["suser"])
		}
	})
}

// heard is what of text a reader of CEF gets.
func heard(text string) string {
	return strings.NewReplacer(`\n`, "\n", `\r`, "\r", `\\`, `\`, `\=`, "=").Replace(string(escapeCEF(nil, text, '=')))
}

// parseCEF reads a line as strictly as the format allows: seven fields, then keys without spaces before an equals sign that
// is not escaped.
func parseCEF(t *testing.T, line string) (header []string, values map[string]string) {
	t.Helper()
	field := ""
	i := 0
	for ; len(header) < 7; i++ {
		if i == len(line) {
			t.Fatalf("%d fields in %q", len(header), line)
		}
		switch line[i] {
		case '\\':
			i++
			field += line[i : i+1]
		case '|':
			header = append(header, field)
			field = ""
		default:
			field += line[i : i+1]
		}
	}
	values = map[string]string{}
	rest := line[i:]
	for rest != "" {
		key, after, ok := strings.Cut(rest, "=")
		if !ok || strings.ContainsAny(key, " \\") {
			t.Fatalf("%q is not key=value", rest)
		}
		value := ""
		next := len(after)
		for j := 0; j < len(after); j++ {
			if after[j] == '\\' {
				j++
				value += strings.NewReplacer("n", "\n", "r", "\r").Replace(after[j : j+1])
				continue
			}
			if after[j] == '=' { // of the next key: it begins after the last space
				next = strings.LastIndexByte(after[:j], ' ') + 1
				value = value[:len(value)-(j-next)-1]
				break
			}
			value += after[j : j+1]
		}
		if _, twice := values[key]; twice {
			t.Fatalf("%s is there twice", key)
		}
		values[key] = value
		rest = after[next:]
	}
	return header, values
}

func BenchmarkShape(b *testing.B) {
	e := samples()[0].entry
	for _, s := range []Shape{Entry, OCSF, CEF} {
		b.Run(string(s), func(b *testing.B) {
			b.ReportAllocs()
			var line []byte
			for b.Loop() {
				line, _ = s.Append(line[:0], &e)
			}
		})
	}
}

// Some receivers take NEL for the end of a line and CSI for the beginning of a command, and JSON lets both stand as they are.
func TestNoControlCharacters(t *testing.T) {
	e := &ledger.Entry{Detail: "a\u0085b\u009bc\x7fd\u2028e\nf\u00a0g"}
	for _, s := range []Shape{Entry, OCSF, CEF} {
		text, err := s.Append([]byte("before\u0085"), e)
		if err != nil {
			t.Fatal(err)
		}
		line := strings.TrimPrefix(string(text), "before\u0085")
		if strings.ContainsFunc(line, unicode.IsControl) || !strings.Contains(line, "f\u00a0g") && s != CEF {
			t.Errorf("%s: %q", s, line)
		}
		var back struct {
			Detail       string
			StatusDetail string `json:"status_detail"`
		}
		if s.JSON() && (json.Unmarshal([]byte(line), &back) != nil || back.Detail+back.StatusDetail != e.Detail) {
			t.Errorf("%s: reads as %q", s, back)
		}
	}
}
