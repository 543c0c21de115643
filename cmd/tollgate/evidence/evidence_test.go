package evidence

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/tollgate/tollgate/cmd/tollgate/queries"
	"github.com/tollgate/tollgate/cmd/tollgate/settings"
	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/internal/postgres"
	"github.com/tollgate/tollgate/internal/postgrestest"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/proof"
	"github.com/tollgate/tollgate/ledger/proof/publish"
	"github.com/tollgate/tollgate/policy"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }

// gateway is the ledger of a gateway and its proof.
type gateway struct {
	t      *testing.T
	setup  *settings.Setup
	db     *postgres.DB // nil: it stands alone
	ledger *ledger.Ledger
	part   *Part
	calls  []ledger.ID
}

func newGateway(t *testing.T, url string) *gateway {
	t.Helper()
	dir := t.TempDir()
	g := &gateway{t: t, setup: &settings.Setup{Data: dir}}
	g.setup.Proof = settings.Proof{Every: time.Minute, Entries: 10_000, Targets: []publish.Named{
		{Name: "file", Own: true, Target: publish.Directory(filepath.Join(dir, "exported"))},
	}}
	if url != "" {
		g.setup.Replica = &settings.Replica{Database: secret.New(url), SecretKey: secret.New(strings.Repeat("s", 32))}
		g.db = g.connect()
		t.Cleanup(g.db.Pool.Close)
	}
	return g
}

func (g *gateway) connect() *postgres.DB {
	g.t.Helper()
	db, err := postgres.Open(context.Background(), postgres.Config{URL: g.setup.Replica.Database})
	if err != nil {
		g.t.Fatal(err)
	}
	return db
}

func (g *gateway) journal() string { return filepath.Join(g.setup.Data, "journal") }

// start opens the ledger and lets the proof work on it.
func (g *gateway) start() {
	g.t.Helper()
	var err error
	if g.ledger, err = ledger.Open(ledger.Config{Dir: g.journal()}); err != nil {
		g.t.Fatal(err)
	}
	g.part, err = Open(context.Background(), Config{Setup: g.setup, Journal: g.journal(), Ledger: g.ledger, Database: g.db, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		g.t.Fatal(err)
	}
	g.part.Run(context.Background())
}

// call makes calls: two entries each.
func (g *gateway) call(n int) {
	g.t.Helper()
	for range n {
		r, err := g.ledger.Reserve(context.Background(), &policy.Call{
			Principal: &policy.Principal{Key: "bot", KeyID: "k1"}, Action: policy.ToolCall, Upstream: "tracker", Target: "search",
		}, nil, ledger.Hold{})
		if err == nil {
			err = r.Post(ledger.Outcome{Status: ledger.OK})
		}
		if err != nil {
			g.t.Fatal(err)
		}
		g.calls = append(g.calls, r.EntryID())
	}
}

func (g *gateway) stop() {
	g.t.Helper()
	if err := errors.Join(g.ledger.Sync(context.Background()), g.part.Close(context.Background()), g.ledger.Close()); err != nil {
		g.t.Fatal(err)
	}
	g.ledger, g.part = nil, nil
}

// open is the Opener of a command beside the gateway, or without one.
func (g *gateway) open(ctx context.Context, settle bool) (*Part, error, error) {
	if settle && g.part != nil {
		if err := errors.Join(g.ledger.Sync(ctx), g.part.Settle(ctx)); err != nil {
			return nil, nil, err
		}
	}
	cfg := Config{Setup: g.setup, Journal: g.journal()}
	if g.setup.Replica != nil {
		cfg.Database = g.connect()
	}
	p, err := Open(ctx, cfg)
	return p, nil, err
}

// run runs a command and returns what it printed.
func (g *gateway) run(args ...string) (string, error) {
	g.t.Helper()
	format := "table"
	root := &cobra.Command{Use: "audit", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(Commands(g.open, &format, queries.Instant, func(c *cobra.Command) *cobra.Command {
		c.Flags().StringVar(&format, "format", "table", "")
		return c
	})...)
	var out bytes.Buffer
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&out)
	err := root.ExecuteContext(context.Background())
	return out.String(), err
}

func (g *gateway) must(args ...string) string {
	g.t.Helper()
	out, err := g.run(args...)
	if err != nil {
		g.t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return out
}

func (g *gateway) verifiers() []string {
	var out []string
	for line := range strings.Lines(g.must("keys")) {
		out = append(out, strings.Fields(line)[0])
	}
	return out
}

func each(t *testing.T, test func(t *testing.T, g *gateway)) {
	t.Run("alone", func(t *testing.T) { test(t, newGateway(t, "")) })
	t.Run("replica", func(t *testing.T) { test(t, newGateway(t, postgrestest.Database(t))) })
}

func TestWhatAnAuditorDoes(t *testing.T) {
	each(t, func(t *testing.T, g *gateway) {
		g.start()
		g.call(300)
		g.stop() // signs and exports what there is
		g.start()
		g.call(10)
		defer g.stop()

		dir := t.TempDir()
		at := func(name string) string { return filepath.Join(dir, name) }
		if out := g.must("export", "--out", at("whole")); !strings.HasPrefix(out, "620 entries, 0 to 619 of 620") {
			t.Error(out)
		}
		g.must("export", "--out", at("part.jsonl"), "--from", "300", "--to", "310")
		g.must("export", "--out", at("recent.jsonl"), "--since", "1h")
		g.must("prove", g.calls[3].String(), "--out", at("proof.json"))
		g.must("prove", "--consistency", "600", "620", "--out", at("growth.json"))
		if out, err := g.run("export", "--out", at("whole")); err == nil {
			t.Errorf("an export was written over: %s", out)
		}
		key := g.verifiers()[0]
		exported := filepath.Join(g.setup.Data, "exported")
		for _, args := range [][]string{
			{"verify"},
			{"verify", at("whole"), "--key", key},
			{"verify", at("whole"), "--key", key, "--checkpoint", exported},
			{"verify", at("part.jsonl"), "--key", key},
			{"verify", at("recent.jsonl"), "--key", key, "--newer-than", "1h"},
			{"verify", "--proof", at("proof.json"), "--key", key},
			{"verify", "--proof", at("growth.json"), "--key", key},
		} {
			if out := g.must(args...); !strings.HasPrefix(out, "ok: ") {
				t.Errorf("%v: %s", args, out)
			}
		}
		var report proof.Report
		if err := json.Unmarshal([]byte(g.must("verify", at("whole"), "--key", key, "--format", "json")), &report); err != nil || report.Entries != 620 {
			t.Errorf("%+v, %v", report, err)
		}

		// Whoever changes an export is found out.
		path := filepath.Join(at("whole"), "export-000000.jsonl")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, bytes.Replace(text, []byte(`"upstream":"tracker"`), []byte(`"upstream":"billing"`), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := g.run("verify", at("whole"), "--key", key)
		if !errors.Is(err, ErrBad) || !strings.HasPrefix(out, "bad: entry 0 (") || !strings.Contains(out, "edited") || strings.Count(out, "\n") != 1 {
			t.Errorf("%v: %s", err, out)
		}
		out, err = g.run("verify", at("whole"), "--key", key, "--format", "json")
		if report = (proof.Report{}); json.Unmarshal([]byte(out), &report) != nil || !errors.Is(err, ErrBad) || report.Bad == nil || report.Bad.Kind != proof.Edited || report.Bad.ID != g.calls[0] {
			t.Errorf("%v: %s", err, out)
		}
		for _, args := range [][]string{
			{"verify", at("part.jsonl")}, {"verify", at("part.jsonl"), "--key", "nonsense"}, {"verify", at("missing"), "--key", key},
			{"verify", "--proof", path, "--key", key}, {"prove", "nonsense"}, {"prove", ledger.NewID(time.Now()).String()}, {"prove", "--consistency", "1", "2"},
			{"rotate-key", "--old", "env:NOT_SET_ANYWHERE"},
		} {
			if out, err := g.run(args...); err == nil || errors.Is(err, ErrBad) {
				t.Errorf("%v: %v, %s", args, err, out)
			}
		}
	})
}

func TestRotation(t *testing.T) {
	each(t, func(t *testing.T, g *gateway) {
		g.start()
		g.call(10)
		g.stop()
		first := g.verifiers()[0]
		g.start()
		g.call(5)
		if g.db == nil {
			if out := g.must("rotate-key"); strings.TrimSpace(out) == first {
				t.Error("the key is the one before")
			}
			if _, err := os.Stat(filepath.Join(g.setup.Data, nextKeyFile)); err == nil {
				t.Error("the new key was not put in its place")
			}
		} else {
			t.Setenv("OLD_SECRET_KEY", g.setup.Replica.SecretKey.Reveal())
			g.stop()
			g.setup.Replica.SecretKey = secret.New(strings.Repeat("n", 32))
			g.start() // does not sign: its key is not the log's
			g.call(1)
			if _, err := g.run("rotate-key"); err == nil {
				t.Error("rotated without the old secret")
			}
			g.must("rotate-key", "--old", "env:OLD_SECRET_KEY")
		}
		g.call(5)
		out := filepath.Join(t.TempDir(), "e.jsonl")
		g.must("export", "--out", out)
		g.stop()
		keys := g.verifiers()
		if len(keys) != 2 || keys[0] != first {
			t.Fatalf("%v", keys)
		}
		g.must("verify", out, "--key", first) // the new one is introduced
		g.must("verify", out, "--key", keys[1], "--key", first)
		if got, err := g.run("verify", out, "--key", keys[1]); err == nil || !strings.Contains(got, "wrong key") {
			t.Errorf("%v: %s", err, got)
		}
	})
}

// A rotation that was cut after the new key was introduced is finished by whoever signs, and by the next rotation.
func TestRotationIsCut(t *testing.T) {
	g := newGateway(t, "")
	g.start()
	g.call(1)
	g.stop()
	p, _, err := g.open(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	next, err := secret.KeyFile(p.file(nextKeyFile), "the key", proof.KeyBytes)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.log.Rotate(t.Context(), next); err != nil { // and nothing is put in its place
		t.Fatal(err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.start()
	g.call(1)
	g.stop()
	g.must("verify")
	g.must("rotate-key")
	if keys := g.verifiers(); len(keys) != 3 {
		t.Errorf("%v", keys)
	}
	g.must("verify")
}

// A store that was lost is made again from the journal as the same log, and one that contradicts what was seen is not used.
func TestLostStore(t *testing.T) {
	g := newGateway(t, "")
	g.start()
	g.call(10)
	g.stop()
	key := g.verifiers()[0]
	for _, name := range []string{storeFile, storeFile + "-wal", storeFile + "-shm"} {
		if err := os.Remove(filepath.Join(g.setup.Data, name)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	g.start()
	g.call(10)
	g.stop()
	if again := g.verifiers()[0]; again != key {
		t.Errorf("the log is another: %s, and was %s", again, key)
	}
	if out := g.must("verify", "--checkpoint", filepath.Join(g.setup.Data, "exported")); !strings.Contains(out, "40 entries") {
		t.Error(out)
	}
	g.setup.Proof.Origin = "example.com/other"
	if _, _, err := g.open(t.Context(), false); err == nil || !strings.Contains(err.Error(), "a log keeps its name") {
		t.Errorf("another origin: %v", err)
	}
}

// The proof of a gateway whose journal was salvaged goes on with the entries since, and has those that were given up.
func TestTheProofSurvivesASalvage(t *testing.T) {
	each(t, func(t *testing.T, g *gateway) {
		g.start()
		for range 3 {
			g.call(5)
			if err := g.ledger.Sync(context.Background()); err != nil { // what was not synced last is no torn tail
				t.Fatal(err)
			}
		}
		g.stop()
		segment := filepath.Join(g.journal(), "000000000001.journal")
		text, err := os.ReadFile(segment)
		if err != nil {
			t.Fatal(err)
		}
		text[200] ^= 1
		if err := errors.Join(os.WriteFile(segment, text, 0o600), os.Remove(filepath.Join(g.journal(), "balances.checkpoint"))); err != nil {
			t.Fatal(err)
		}
		storage, err := durable.Disk(g.journal())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ledger.Salvage(storage); err != nil {
			t.Fatal(err)
		}
		g.start()
		g.call(5)
		defer g.stop()
		verify := []string{"verify"}
		if g.db == nil {
			out, err := g.run(verify...)
			if err == nil || !strings.Contains(out, "--accept-lost") {
				t.Errorf("a lost entry is not told: %s", out)
			}
			verify = append(verify, "--accept-lost")
		}
		if out := g.must(verify...); !strings.HasPrefix(out, "ok: ") || !strings.Contains(out, "1 times a journal was salvaged") {
			t.Error(out)
		}
		if out := g.must("prove", g.calls[len(g.calls)-1].String()); !strings.Contains(out, "tollgate_proof") {
			t.Error(out)
		}
	})
}
