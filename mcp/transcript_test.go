package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/tollgate/tollgate/internal/gatetest"
	"github.com/tollgate/tollgate/ledger"
)

var update = flag.Bool("update", false, "rewrite the transcripts with what was seen")

// TestTranscripts plays the conversations of testdata and compares every byte that a client, a server and the ledger get
// to see. A file holds:
//
//	rules.yaml          the policy
//	limits              lines "KEY LIMIT"
//	config.json         servers (by name: fields of Server) and profiles
//	server/NAME         a script
//	N.request           method, path and headers, blank line, body; SESSION stands for the last session id, TASK for the
//	                    last task's id as the gateway gave it, STATEn for the nth requestState it gave
//	N.response          status and headers, blank line, body
//	N.upstream          what reached the servers
//	ledger              the entries in the end
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			seen := play(t, archive)
			if *update {
				if err := os.WriteFile(file, txtar.Format(seen), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			compare(t, archive, seen)
		})
	}
}

func compare(t *testing.T, want, seen *txtar.Archive) {
	t.Helper()
	for i, f := range seen.Files {
		if i >= len(want.Files) || want.Files[i].Name != f.Name {
			t.Errorf("%s was seen and is not in the file:\n%s", f.Name, f.Data)
			return
		}
		if !bytes.Equal(want.Files[i].Data, f.Data) {
			t.Errorf("%s:\n%s\nwant:\n%s", f.Name, f.Data, want.Files[i].Data)
		}
	}
	if len(want.Files) > len(seen.Files) {
		t.Errorf("%s was not seen", want.Files[len(seen.Files)].Name)
	}
}

// stage is a world at its HTTP address, with what a transcript says of it.
type stage struct {
	*world
	url     string
	session string
	task    string
	states  []string
}

// taskIDs finds the gateway's ids of tasks: they are long, and no two are the same.
var taskIDs = regexp.MustCompile(`"taskId":"([A-Za-z0-9_-]{60,})"`)

func setStage(t testing.TB, a *txtar.Archive) *stage {
	t.Helper()
	o := gatetest.Options{Limits: map[ledger.Scope][]string{}}
	noon := time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)
	o.Gate.Now = func() time.Time { return noon }
	scripts := map[string]script{}
	var cfg struct {
		Servers  map[string]Server
		Profiles []Profile
	}
	for _, f := range a.Files {
		name, isServer := strings.CutPrefix(f.Name, "server/")
		switch {
		case isServer:
			var s script
			if err := json.Unmarshal(f.Data, &s); err != nil {
				t.Fatalf("%s: %v", f.Name, err)
			}
			scripts[name] = s
		case f.Name == "rules.yaml":
			o.Rules = string(f.Data)
		case f.Name == "config.json":
			if err := json.Unmarshal(f.Data, &cfg); err != nil {
				t.Fatalf("%s: %v", f.Name, err)
			}
		case f.Name == "limits":
			for line := range strings.Lines(string(f.Data)) {
				key, limit, _ := strings.Cut(strings.TrimSpace(line), " ")
				scope := ledger.Scope{Level: ledger.KeyLevel, Name: "id-" + key}
				o.Limits[scope] = append(o.Limits[scope], limit)
			}
		}
	}
	w := newWorld(t, o, scripts, func(c *Config) {
		c.Profiles = cfg.Profiles
		for i, s := range c.Servers {
			if more, ok := cfg.Servers[s.Name]; ok {
				more.Name, more.Command = s.Name, s.Command
				c.Servers[i] = more
			}
		}
	})
	srv := httptest.NewServer(w.Handler())
	t.Cleanup(srv.Close)
	return &stage{world: w, url: srv.URL}
}

// play has the conversation of a and returns a as it was seen.
func play(t *testing.T, a *txtar.Archive) *txtar.Archive {
	s := setStage(t, a)
	seen := &txtar.Archive{Comment: a.Comment}
	for _, f := range a.Files {
		n, isRequest := strings.CutSuffix(f.Name, ".request")
		switch {
		case isRequest:
			response := s.exchange(t, f.Data)
			seen.Files = append(seen.Files, f, txtar.File{Name: n + ".response", Data: response})
			if got := s.reached(); got != "" {
				seen.Files = append(seen.Files, txtar.File{Name: n + ".upstream", Data: []byte(got)})
			}
		case strings.HasSuffix(f.Name, ".response"), strings.HasSuffix(f.Name, ".upstream"), f.Name == "ledger":
		default:
			seen.Files = append(seen.Files, f)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
	lines := strings.Join(s.gate.Lines(t), "\n") + "\n"
	seen.Files = append(seen.Files, txtar.File{Name: "ledger", Data: []byte(lines)})
	return seen
}

// exchange sends one request and returns the response as text.
func (s *stage) exchange(t *testing.T, request []byte) []byte {
	t.Helper()
	request = bytes.ReplaceAll(request, []byte("TASK"), []byte(s.task))
	for i, state := range slices.Backward(s.states) {
		request = bytes.ReplaceAll(request, fmt.Appendf(nil, "STATE%d", i+1), []byte(state))
	}
	head, body, _ := bytes.Cut(request, []byte("\n\n"))
	lines := strings.Split(strings.TrimSpace(string(head)), "\n")
	method, path, _ := strings.Cut(lines[0], " ")
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, bytes.NewReader(bytes.TrimSuffix(body, []byte("\n"))))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		if value == "SESSION" {
			value = s.session
		}
		if name == "Host" {
			req.Host = value
		}
		req.Header.Add(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if id := resp.Header.Get("Mcp-Session-Id"); id != "" {
		s.session = id
		resp.Header.Set("Mcp-Session-Id", "SESSION")
	}
	if id := taskIDs.FindSubmatch(all); id != nil {
		s.task = string(id[1])
		all = bytes.ReplaceAll(all, id[1], []byte("TASK"))
	}
	all = givenState.ReplaceAllFunc(all, func(state []byte) []byte {
		s.states = append(s.states, string(state))
		return fmt.Appendf(nil, "STATE%d", len(s.states))
	})
	return responseText(resp, all)
}

// givenState is a requestState of the gateway's own.
var givenState = regexp.MustCompile(`tollgate-input\.2\.[A-Za-z0-9_-]{80,}`)

func responseText(resp *http.Response, body []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, resp.StatusCode)
	for _, h := range []string{"Content-Type", "Mcp-Session-Id", "WWW-Authenticate", "Allow", "Retry-After"} {
		if v := resp.Header.Get(h); v != "" {
			fmt.Fprintf(&b, "%s: %s\n", h, v)
		}
	}
	if len(body) > 0 {
		fmt.Fprintf(&b, "\n%s\n", bytes.TrimSuffix(body, []byte("\n\n")))
	}
	return b.Bytes()
}

// reached is what the servers got since the last request.
func (s *stage) reached() string {
	var all []string
	for _, f := range s.fakes {
		all = append(all, f.took()...)
	}
	slices.Sort(all)
	if len(all) == 0 {
		return ""
	}
	return strings.Join(all, "\n") + "\n"
}
