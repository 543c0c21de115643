package gate_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/gatetest"
	"github.com/tollgate/tollgate/internal/redact"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/payload"
	"github.com/tollgate/tollgate/ledger/subject"
	"github.com/tollgate/tollgate/policy"
)

const anyTool = `{version: 1, rules: [{id: all, effect: allow, tools: ["*"]}]}`

var stdio = []gate.Upstream{{Side: policy.Tools, Name: "srv"}}

// recorder captures all payloads as mode says; the returned function stores what was captured.
func recorder(t *testing.T, l *ledger.Ledger, mode payload.Mode) (*payload.Recorder, func()) {
	t.Helper()
	dir := t.TempDir()
	subjects, err := subject.Open(t.Context(), subject.Config{Path: filepath.Join(dir, "subjects.db"), KEK: make([]byte, subject.KeyBytes)})
	if err != nil {
		t.Fatal(err)
	}
	r, err := payload.Open(t.Context(), payload.Config{Path: filepath.Join(dir, "payloads.db"), Subjects: subjects, Digest: l.NewDigest, Mask: &redact.Mask{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(r.Close(), subjects.Close()); err != nil {
			t.Error(err)
		}
	})
	r.SetRules(payload.Rules{General: mode}, time.Hour)
	return r, func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		r.Run(ctx)
	}
}

func TestPayloadIsCapturedHoweverTheCallEnds(t *testing.T) {
	f := gatetest.New(t, gatetest.Options{Rules: anyTool, Upstreams: stdio})
	r, settle := recorder(t, f.Ledger, payload.Full)
	g, err := gate.New(gate.Config{Ledger: f.Ledger, Payloads: r, Policy: gatetest.Rules(t, anyTool), Upstreams: stdio})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	args := []byte(`{"q":"a"}`)
	ways := map[string]struct {
		fn     func(*gate.Permit)
		answer string
		kept   string
	}{
		"whole": {func(p *gate.Permit) {
			p.Sent()
			p.Answered([]byte("an "))
			p.Answered([]byte("answer"))
			p.Done(ledger.OK, 200, "")
		}, "an answer", "full"},
		"refused": {func(p *gate.Permit) { p.Sent(); p.Answered([]byte("no")); p.Done(ledger.Failed, 400, "") }, "no", "full"},
		"silent":  {func(p *gate.Permit) { p.Sent() }, "", "full"},
		"unsent":  {func(p *gate.Permit) {}, "", ""},
		"panic":   {func(p *gate.Permit) { p.Sent(); p.Answered([]byte("half")); panic("x") }, "half", "full"},
	}
	ids, late := map[string]ledger.ID{}, (*gate.Permit)(nil)
	for name, way := range ways {
		func() {
			defer func() { _ = recover() }()
			call := policy.Call{Principal: &policy.Principal{Key: "bot", KeyID: "k1"}, Action: policy.ToolCall, Upstream: "srv", Target: "t", Args: args,
				Tool: &policy.Tool{Server: "srv", Name: "t"}}
			err := g.Do(t.Context(), call, ledger.Hold{}, func(_ context.Context, p *gate.Permit) error {
				ids[name], _ = ledger.ParseID(p.Call().ID)
				late = p
				way.fn(p)
				return nil
			})
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}()
		late.Answered([]byte("too late"))
	}
	settle()
	for name, way := range ways {
		p, err := r.Read(t.Context(), ids[name])
		if way.kept == "" {
			if !errors.Is(err, payload.ErrNone) {
				t.Errorf("%s: %+v, %v", name, p, err)
			}
			continue
		}
		if err != nil || p.Request != string(args) || p.Answer != way.answer {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	want := map[ledger.ID]ledger.Digest{}
	for name, way := range ways {
		want[ids[name]] = f.Ledger.Digest("", []byte(way.answer))
	}
	for _, e := range f.Entries(t) {
		if !e.Ends() {
			continue
		}
		kept := "full"
		if e.Kind == ledger.Voided {
			kept = ""
		}
		if e.Payload != kept || e.Result != want[e.Resolves] {
			t.Errorf("%s entry: payload %q, digest %s", e.Kind, e.Payload, e.Result)
		}
	}
}

// What is not captured costs nothing, and what is stands in no entry.
func TestPayloadStandsInNoEntry(t *testing.T) {
	f := gatetest.New(t, gatetest.Options{Rules: anyTool, Upstreams: stdio})
	canary := []byte("canary-of-a-payload")
	r, settle := recorder(t, f.Ledger, payload.Full)
	g, err := gate.New(gate.Config{Ledger: f.Ledger, Payloads: r, Policy: gatetest.Rules(t, anyTool), Upstreams: stdio})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	call := policy.Call{Principal: &policy.Principal{Key: "bot", KeyID: "k1"}, Action: policy.ToolCall, Upstream: "srv", Target: "t", Args: canary,
		Tool: &policy.Tool{Server: "srv", Name: "t"}}
	err = g.Do(t.Context(), call, ledger.Hold{}, func(_ context.Context, p *gate.Permit) error {
		p.Sent()
		p.Answered(canary)
		p.Done(ledger.OK, 0, "")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	settle()
	for _, e := range f.Entries(t) {
		if bytes.Contains(e.Append(nil), canary) {
			t.Errorf("%+v", e)
		}
	}
}
