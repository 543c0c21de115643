package privacy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/cmd/tollgate/privacy"
	"github.com/tollgate/tollgate/cmd/tollgate/settings"
	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/gatetest"
	"github.com/tollgate/tollgate/internal/postgres"
	"github.com/tollgate/tollgate/internal/postgrestest"
	"github.com/tollgate/tollgate/internal/redact"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/index"
	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/ledger/payload"
	"github.com/tollgate/tollgate/oauth"
	"github.com/tollgate/tollgate/policy"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }

const (
	person  = "annika.canary@example.org"
	carried = "canary-of-a-payload"
	rules   = `{version: 1, rules: [{id: all, effect: allow, tools: ["*"]}]}`
)

// office is the admin API over a gate that captures everything.
type office struct {
	t    *testing.T
	dir  string
	db   *postgres.DB // nil: files
	part *privacy.Part
	l    *ledger.Ledger
	ix   *index.Index
	keys *oauth.Keys
	gate *gate.Gate
	url  string
}

// both runs a test with files and with a database.
func both(t *testing.T, test func(t *testing.T, o *office)) {
	t.Run("file", func(t *testing.T) { test(t, open(t, nil)) })
	t.Run("postgres", func(t *testing.T) {
		db, err := postgres.Open(t.Context(), postgres.Config{URL: secret.New(postgrestest.Database(t))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(db.Close)
		test(t, open(t, db))
	})
}

func open(t *testing.T, db *postgres.DB) *office {
	t.Helper()
	o := &office{t: t, dir: t.TempDir(), db: db}
	ctx, log := t.Context(), slog.New(slog.DiscardHandler)
	s := &settings.Setup{Data: o.dir, Users: map[string]bool{"declared": true}}
	s.Privacy.Rules.General = payload.Full
	var err error
	must := func(failed error) {
		t.Helper()
		if failed != nil {
			t.Fatal(failed)
		}
	}
	cfg := privacy.Config{Setup: s, Database: db, Log: log}
	if db != nil {
		cfg.Shared = &settings.SharedKeys{Payload: make([]byte, 32)}
	}
	o.part, err = privacy.Open(ctx, cfg)
	must(err)
	journalDir := filepath.Join(o.dir, "journal")
	o.l, err = ledger.Open(ledger.Config{Dir: journalDir, Durability: ledger.Relaxed, Subjects: o.part.Subjects})
	must(err)
	must(o.part.Capture(ctx, o.l, &redact.Mask{}, nil))
	if db == nil {
		o.ix, err = index.Open(index.Path(journalDir), o.l)
	} else {
		o.ix, err = index.OpenPostgres(ctx, db, "replica", o.l)
	}
	must(err)
	keys := oauth.KeysConfig{Path: filepath.Join(o.dir, "keys.db"), Pepper: make([]byte, 32), Log: log}
	if db != nil {
		keys.Path, keys.Database, keys.Serving = "", db, true
	}
	o.keys, err = oauth.OpenKeys(ctx, keys)
	must(err)
	o.gate, err = gate.New(gate.Config{Ledger: o.l, Payloads: o.part.Payloads, Policy: gatetest.Rules(t, rules), Upstreams: []gate.Upstream{{Side: policy.Tools, Name: "srv"}}})
	must(err)
	mux := http.NewServeMux()
	(&privacy.API{Part: o.part, Ledger: o.l, Keys: o.keys, Index: o.ix, Setup: func() *settings.Setup { return s }, Log: log}).Register(mux)
	server := httptest.NewServer(mux)
	o.url = server.URL
	running, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); o.ix.Run(running, func(error) {}) }()
	t.Cleanup(func() {
		server.Close()
		stop()
		<-done
		o.gate.Close()
		if err := o.l.Close(); err != nil && !errors.Is(err, ledger.ErrUnwritable) { // a test may have closed it
			t.Error(err)
		}
		if err := errors.Join(o.keys.Close(), o.ix.Close(), o.part.Close()); err != nil {
			t.Error(err)
		}
		if _, err := ledger.Check(journalDir); err != nil {
			t.Error(err)
		}
	})
	return o
}

// call makes a call for a user, or for the key alone, and returns its id once its payload is stored.
func (o *office) call(user string) (id string) {
	o.t.Helper()
	c := policy.Call{Principal: &policy.Principal{Key: "bot", KeyID: "k1", User: user}, Action: policy.ToolCall, Upstream: "srv", Target: "t",
		Tool: &policy.Tool{Server: "srv", Name: "t"}, Args: []byte(`{"a":"` + carried + `"}`)}
	err := o.gate.Do(o.t.Context(), c, ledger.Hold{}, func(_ context.Context, p *gate.Permit) error {
		id = p.Call().ID
		p.Sent()
		p.Answered([]byte(carried))
		p.Done(ledger.OK, 0, "")
		return nil
	})
	if err != nil {
		o.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	o.part.Run(ctx) // stores what there is
	return id
}

// ask asks the API and returns the status and the answer.
func (o *office) ask(path, body string) (int, string) {
	o.t.Helper()
	method := http.MethodPost
	if body == "" {
		method = http.MethodGet
	}
	r, err := http.NewRequestWithContext(o.t.Context(), method, o.url+path, strings.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		o.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func (o *office) want(status int, part, path, body string) string {
	o.t.Helper()
	code, text := o.ask(path, body)
	if code != status || !strings.Contains(text, part) {
		o.t.Errorf("%s %s: %d %s\nwant %d with %q", path, body, code, text, status, part)
	}
	return text
}

// acts are the entries of operators, in short form.
func (o *office) acts() (out []string) {
	o.t.Helper()
	if err := o.l.Sync(o.t.Context()); err != nil {
		o.t.Fatal(err)
	}
	r := o.l.Reader(journal.Position{})
	defer r.Close()
	for e, err := range r.All() {
		if err != nil {
			o.t.Fatal(err)
		}
		if e.Kind == ledger.Admin {
			out = append(out, fmt.Sprintf("%s by %s at %s of %s: %s %s", e.Action, e.Who.Key, e.Source, e.Who.User, e.Status, e.Detail))
		}
	}
	return out
}

// everywhere is all that is stored: every file, and every row of the database as text.
func (o *office) everywhere() string {
	o.t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(o.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all.Write(b)
		return err
	})
	if err != nil {
		o.t.Fatal(err)
	}
	if o.db == nil {
		return all.String()
	}
	var tables []string
	rows, err := o.db.Query(o.t.Context(), "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
	if err != nil {
		o.t.Fatal(err)
	}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			o.t.Fatal(err)
		}
		tables = append(tables, name)
	}
	for _, name := range tables {
		rows, err := o.db.Query(o.t.Context(), "SELECT t::text FROM "+name+" AS t")
		if err != nil {
			o.t.Fatal(err)
		}
		for rows.Next() {
			var text string
			if err := rows.Scan(&text); err != nil {
				o.t.Fatal(err)
			}
			all.WriteString(text + "\n")
		}
	}
	return all.String()
}

func TestReadingAPayloadIsRecordedFirst(t *testing.T) {
	both(t, func(t *testing.T, o *office) {
		id := o.call(person)
		ann, err := o.part.Lookup(t.Context(), person)
		if err != nil {
			t.Fatal(err)
		}
		o.want(422, "say why", "/api/v1/payloads/"+id, `{}`)
		o.want(422, "leave the name out", "/api/v1/payloads/"+id, `{"reason":"what Annika.Canary@example.org asked"}`)
		o.want(422, "not the id of a call", "/api/v1/payloads/x", `{"reason":"ticket 1"}`)
		o.want(422, "no payload is kept", "/api/v1/payloads/"+ledger.ID{1}.String(), `{"reason":"ticket 1"}`)
		o.want(400, "not the JSON", "/api/v1/payloads/"+id, `x`)
		if acts := o.acts(); acts != nil {
			t.Errorf("nothing was shown, but %q", acts)
		}
		text := o.want(200, carried, "/api/v1/payloads/"+id, `{"reason":"ticket 4711"}`)
		var p payload.Payload
		if err := json.Unmarshal([]byte(text), &p); err != nil || p.Request != `{"a":"`+carried+`"}` || p.Answer != carried || p.Subject != ann {
			t.Errorf("%+v, %v", p, err)
		}
		if acts := o.acts(); len(acts) != 1 || acts[0] != "payload.read by operator at 127.0.0.1 of "+ann+": ok ticket 4711" {
			t.Errorf("%q", acts)
		}
	})
}

// What may not be recorded is not shown.
func TestUnrecordedIsUndone(t *testing.T) {
	o := open(t, nil)
	id := o.call(person)
	if err := o.l.Close(); err != nil {
		t.Fatal(err)
	}
	if code, text := o.ask("/api/v1/payloads/"+id, `{"reason":"ticket 4711"}`); code != 503 || strings.Contains(text, carried) {
		t.Errorf("%d %s", code, text)
	}
	if code, text := o.ask("/api/v1/subjects/erase", `{"subject":"`+person+`"}`); code != 503 {
		t.Errorf("%d %s", code, text)
	}
	if _, err := o.part.Payloads.Read(t.Context(), must(ledger.ParseID(id))); err != nil {
		t.Errorf("it is gone: %v", err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestErasureLeavesNothing(t *testing.T) {
	both(t, func(t *testing.T, o *office) {
		ctx := t.Context()
		first := o.call(person)
		ofKey := o.call("")
		ann := must(o.part.Lookup(ctx, person))
		if all := o.everywhere(); strings.Contains(all, person) || strings.Contains(all, carried) {
			t.Error("before the erasure, a name or payload stands somewhere in the clear")
		}
		o.want(422, "no subject has this name", "/api/v1/subjects/erase", `{"subject":"nobody"}`)
		o.want(422, "say who", "/api/v1/subjects/erase", `{}`)
		o.want(422, "leave the name out", "/api/v1/subjects/erase", `{"subject":"`+ann+`","reason":"`+person+` asked"}`)

		// On hold it stays.
		o.want(422, "say why", "/api/v1/subjects/hold", `{"subject":"`+person+`","held":true}`)
		o.want(200, ann, "/api/v1/subjects/hold", `{"subject":"`+person+`","held":true,"reason":"case 12"}`)
		o.want(409, "on hold", "/api/v1/subjects/erase", `{"subject":"`+person+`","reason":"request 17"}`)
		o.want(200, `"held":true`, "/api/v1/subjects", "")
		o.want(200, ann, "/api/v1/subjects/hold", `{"subject":"`+ann+`","held":false,"reason":"case 12 is closed"}`)

		// While a minted key acts for the user, his name must stand with it.
		if _, _, err := o.keys.Mint(ctx, oauth.KeySpec{Name: "laptop", User: person}); err != nil {
			t.Fatal(err)
		}
		o.want(422, "minted keys laptop act for this user", "/api/v1/subjects/erase", `{"subject":"`+person+`"}`)
		if err := o.keys.Revoke(ctx, "laptop"); err != nil {
			t.Fatal(err)
		}

		text := o.want(200, `"payloads":1`, "/api/v1/subjects/erase", `{"subject":"`+person+`","reason":"request 17"}`)
		if strings.Contains(text, "config still names") {
			t.Error(text)
		}
		o.want(422, "no subject has this name", "/api/v1/subjects/erase", `{"subject":"`+person+`"}`)
		o.want(422, "was erased", "/api/v1/subjects/erase", `{"subject":"`+ann+`"}`)
		o.want(422, "no payload is kept", "/api/v1/payloads/"+first, `{"reason":"ticket 1"}`)
		o.want(200, carried, "/api/v1/payloads/"+ofKey, `{"reason":"ticket 2"}`)
		if all := o.everywhere(); strings.Contains(all, person) || strings.Contains(all, carried) {
			t.Error("after the erasure, a name or payload stands somewhere in the clear")
		}
		want := []string{
			"subject.hold by operator at 127.0.0.1 of " + ann + ": ok case 12",
			"subject.erase by operator at 127.0.0.1 of " + ann + ": upstream_error the subject is on hold",
			"subject.release by operator at 127.0.0.1 of " + ann + ": ok case 12 is closed",
			"subject.erase by operator at 127.0.0.1 of " + ann + ": ok request 17",
		}
		if acts := o.acts(); len(acts) < 4 || strings.Join(acts[:4], "\n") != strings.Join(want, "\n") {
			t.Errorf("%q", acts)
		}

		// What came between an erasure and its end is made up for when it is asked again.
		bo := "bo@example.org"
		o.call(bo)
		left := must(o.part.Lookup(ctx, bo))
		if err := o.part.Subjects.Erase(ctx, left); err != nil {
			t.Fatal(err)
		}
		o.want(200, `"payloads":1`, "/api/v1/subjects/erase", `{"subject":"`+left+`"}`)
		o.want(422, "was erased", "/api/v1/subjects/erase", `{"subject":"`+left+`"}`)

		// He may call again, and is somebody else.
		o.call(person)
		if again := must(o.part.Lookup(ctx, person)); again == ann || !strings.HasPrefix(again, "u_") {
			t.Errorf("%s again", again)
		}
		text = "for user " + ann
		if err := o.part.Spell(ctx, &text); err != nil || text != "for user "+ann {
			t.Errorf("the erased is shown as %q, %v", text, err)
		}
	})
}

func TestPayloadsOfKeyAreErased(t *testing.T) {
	o := open(t, nil)
	id := o.call("")
	o.want(422, "no payloads of a key", "/api/v1/subjects/erase", `{"key":"other"}`)
	o.want(200, `"payloads":1`, "/api/v1/subjects/erase", `{"key":"k1","reason":"request 18"}`)
	o.want(422, "no payload is kept", "/api/v1/payloads/"+id, `{"reason":"ticket 1"}`)
}

func TestNamesAreShownToOperatorsOnly(t *testing.T) {
	o := open(t, nil)
	o.call(person)
	ctx := t.Context()
	ann := must(o.part.Lookup(ctx, person))
	if ann == person {
		t.Fatal("no pseudonym")
	}
	if same := must(o.part.Lookup(ctx, "nobody")); same != "nobody" {
		t.Error(same)
	}
	texts := []string{ann, "limit of user " + ann + ": 0 left", "u_aaaaaaaaaaaaaaaaaaaa", "plain", ""}
	var at []*string
	for i := range texts {
		at = append(at, &texts[i])
	}
	if err := o.part.Spell(ctx, at...); err != nil || strings.Join(texts, "|") != person+"|limit of user "+person+": 0 left|u_aaaaaaaaaaaaaaaaaaaa|plain|" {
		t.Errorf("%q, %v", texts, err)
	}
	o.want(200, person, "/api/v1/subjects", "")
	o.want(200, `"subjects":2`, "/api/v1/subjects/rekey", `{"reason":"yearly"}`) // with the declared one
}
