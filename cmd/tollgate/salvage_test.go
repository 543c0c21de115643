package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/policy"
)

// A gateway whose journal is damaged does not start and says what to do; what it says works, and is in the ledger after.
func TestDamagedLedgerIsSalvaged(t *testing.T) {
	dir := t.TempDir()
	journalPath := filepath.Join(dir, "data", journalDir)
	call := &policy.Call{Principal: &policy.Principal{Key: "dev"}, Action: policy.ToolCall, Upstream: "tracker", Target: "search"}
	cfg := ledger.Config{Dir: journalPath, Durability: ledger.Strict}
	l, err := ledger.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		r, err := l.Reserve(context.Background(), call, nil, ledger.Hold{Cost: 5})
		if err == nil {
			err = r.Post(ledger.Outcome{Status: ledger.OK})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(dir, "tollgate.yaml")
	if err := os.WriteFile(config, []byte("version: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		c := command()
		var out bytes.Buffer
		c.SetOut(&out)
		c.SetArgs(append(args, "--config", config))
		if err := c.Execute(); err != nil {
			return "error: " + err.Error()
		}
		return out.String()
	}
	says := func(got string, want ...string) {
		t.Helper()
		for _, text := range want {
			if !strings.Contains(got, text) {
				t.Errorf("%q does not say %q", got, text)
			}
		}
	}
	says(run("audit", "salvage"), "Nothing is damaged.")
	says(run("audit", "salvage", "--yes"), "a gateway runs on it: stop it first")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	segment := filepath.Join(journalPath, "000000000001.journal")
	b, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	b[200] ^= 1
	if err := os.WriteFile(segment, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(journalPath, "balances.checkpoint")); err != nil { // else a start trusts what lies before it
		t.Fatal(err)
	}
	_, err = ledger.Open(cfg)
	if err == nil {
		t.Fatal("it starts on damage")
	}
	says(err.Error(), "journal 000000000001.journal is damaged at byte 192", "restore the directory from a backup", "tollgate audit salvage")
	says(run("audit", "salvage"), "damaged at byte 192", "It holds up to sequence 1", "000000000001.journal", "Nothing was changed")
	says(run("audit", "salvage", "--yes"), "damaged at byte 192", "kept in files named *.damaged")
	says(run("audit", "query", "--kind", "admin", "--format", "json"), "journal.salvage", "000000000001.journal.damaged")
	if report, err := ledger.Check(journalPath); err != nil || report.Cuts != 1 || report.Calls != 1 {
		t.Errorf("%+v, %v", report, err)
	}
}
