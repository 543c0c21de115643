package canary

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/ledger"
)

// canary is a text that may stand nowhere but where it is allowed.
type canary struct {
	name    string
	text    string
	allowed string // places, as a regular expression; empty: none
}

// The planted texts. They look like nothing, so that they are not found by their shape but because nobody wrote them down.
const (
	keySecret      = "kanarienvogel-schluessel-0001"
	wrongSecret    = "kanarienvogel-falscher-0002"
	providerKey    = "kanarienvogel-anbieter-0003"
	bearer         = "kanarienvogel-traeger-0004"
	header         = "kanarienvogel-kopfzeile-0005"
	argument       = "kanarienvogel-argument-0006"
	result         = "kanarienvogel-ergebnis-0007"
	prompt         = "kanarienvogel-frage-0008"
	completion     = "kanarienvogel-antwort-0009"
	streamed       = "kanarienvogel-strom-0010"
	userName       = "kanarienvogel-mensch-0011"
	querySecret    = "kanarienvogel-parameter-0012"
	childEnv       = "kanarienvogel-umgebung-0013"
	malformed      = "kanarienvogel-unform-0014"
	userinfo       = "kanarienvogel-passwort-0015"
	kek            = "kanarienvogel-kek-0123456789-0016"
	cookie         = "kanarienvogel-keks-0017"
	serverURLQuery = "kanarienvogel-adresse-0018"
)

var canaries = []canary{
	{"a virtual key's secret", keySecret, ""},
	{"a wrong key", wrongSecret, ""},
	{"a provider's key", providerKey, ""},
	{"a server's bearer token", bearer, ""},
	{"a server's header", header, ""},
	{"an argument of a tool", argument, "^payload shown$|^answer:"},
	{"a result of a tool", result, "^payload shown$|^answer:"},
	{"a prompt", prompt, "^answer:"},
	{"a completion", completion, "^answer:"},
	{"a completion, streamed", streamed, "^answer:"},
	{"a user's name", userName, "^api:|^command:"}, // operators see names
	{"a secret in a caller's URL", querySecret, ""},
	{"a secret in a child's environment", childEnv, ""},
	{"a body that cannot be read", malformed, "^answer:"},
	{"the user of a URL", userinfo, ""},
	{"the key-encryption key", kek, ""},
	{"a cookie", cookie, ""},
	{"a secret in a server's URL", serverURLQuery, "^answer: tool leak$"},
}

// places are what the gateway has written, answered and sent, by name.
type places map[string]string

// leaks lists the canaries that stand where they may not.
func (p places) leaks() (found []string) {
	for _, c := range canaries {
		for place, text := range p {
			if c.allowed != "" && regexp.MustCompile(c.allowed).MatchString(place) {
				continue
			}
			for how, form := range forms(c.text) {
				if strings.Contains(text, form) {
					found = append(found, c.name+", "+how+", in "+place)
				}
			}
		}
	}
	return found
}

// forms are the ways in which a text may be written.
func forms(text string) map[string]string {
	all := map[string]string{"plain": text, "in hex": hex.EncodeToString([]byte(text)), "in percent form": url.QueryEscape(text), "backwards": backwards(text)}
	for i, shift := range []string{"", "x", "xx"} { // base64 has three alignments; its ends depend on what is around
		b := base64.StdEncoding.EncodeToString([]byte(shift + text))
		all["in base64, shifted by "+string(rune('0'+i))] = b[4 : len(b)-4]
	}
	return all
}

func backwards(s string) string {
	b := []byte(s)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return string(b)
}

// files adds all files below dir.
func (p places) files(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		p["file: "+name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// build makes the binary.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "tollgate")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../cmd/tollgate").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

func TestNothingLeaks(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds and starts the binary")
	}
	w := start(t, build(t))
	w.everything()
	seen := w.look()
	for _, leak := range seen.leaks() {
		t.Error(leak)
	}
	w.shown(seen)

	// After the erasure nobody knows the name any more, and nothing opens the payloads.
	w.command("audit", "erase", "--subject", userName, "--reason", "request 17")
	if _, err := w.gateway.Command(t.Context(), "audit", "erase", "--subject", userName); err == nil || !strings.Contains(err.Error(), "no subject has this name") {
		t.Errorf("erased twice: %v", err)
	}
	if out, err := w.gateway.Command(t.Context(), "audit", "payload", w.told, "--reason", "again"); err == nil {
		t.Errorf("the payload is still shown: %s", out)
	}
	after := w.look()
	w.verified()
	if err := w.gateway.Stop(); err != nil {
		t.Fatal(err)
	}
	after.files(t, filepath.Join(w.dir, "data"))
	after["log"] = w.log.String()
	for place, text := range after {
		for how, form := range forms(userName) {
			if strings.Contains(text, form) && place != "command: check" && !strings.HasPrefix(place, "command: key list") { // the config names him
				t.Errorf("the name of the erased, %s, stands in %s", how, place)
			}
		}
	}
	for _, leak := range after.leaks() {
		t.Error("after the erasure:", leak)
	}
	if _, err := ledger.Check(filepath.Join(w.dir, "data", "journal")); err != nil {
		t.Errorf("the ledger does not add up: %v", err)
	}
}

// What is wrong with a config is told without what is secret in it.
func TestFaultsOfConfigTellNoSecret(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the binary")
	}
	binary := build(t)
	for name, yaml := range map[string]string{
		"the user of a provider's URL": "providers: {p: {kind: custom, base_url: \"http://user:" + userinfo + "@127.0.0.1:1/v1\", dialects: [chat]}}\n",
		"a secret written out":         "keys: {k: {secret: " + keySecret + "}}\n",
		"a bearer token written out":   "servers: {s: {url: \"http://127.0.0.1:1/\", auth: {bearer: " + bearer + "}}}\n",
		"a KEK written out":            "payloads: {kek: " + kek + "}\n",
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "tollgate.yaml")
		if err := os.WriteFile(file, []byte("version: 1\ndata: "+dir+"/data\n"+yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, command := range []string{"check", "serve"} {
			out, err := exec.CommandContext(t.Context(), binary, command, "--config", file).CombinedOutput()
			if err == nil {
				t.Errorf("%s: %s takes it", name, command)
			}
			for _, leak := range (places{command: string(out)}).leaks() {
				t.Errorf("%s: %s", name, leak)
			}
		}
	}
}
