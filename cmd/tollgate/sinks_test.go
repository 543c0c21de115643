package main

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/cmd/tollgate/settings"
	"github.com/tollgate/tollgate/ledger/sink"
)

// A sink comes and goes with the config and keeps its place; operators see how it stands and send it back.
func TestSinksOfARunningGateway(t *testing.T) {
	r := startRunning(t, "1000 calls / 1d")
	before, err := os.ReadFile(r.path)
	if err != nil {
		t.Fatal(err)
	}
	reload := func(more string) {
		t.Helper()
		r.write(t, "tollgate.yaml", string(before)+more)
		next, err := settings.Load(r.path, r.catalog)
		if err == nil {
			err = r.reload(t.Context(), next)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(filepath.Dir(r.path), "out.jsonl")
	lines := func() int {
		t.Helper()
		if err := r.ledger.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := r.sinks.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(text), "\n")
	}
	const config = "sinks: {out: {type: file, path: out.jsonl, kinds: [posted], batch: {wait: 1ms}}}\n"
	r.chat(t, devKey, "fast")
	reload(config)
	r.chat(t, devKey, "fast")
	if n := lines(); n != 2 {
		t.Errorf("%d lines, want both calls: one from before the sink was there", n)
	}
	reload("")
	r.chat(t, devKey, "fast")
	reload(config)
	if n := lines(); n != 3 {
		t.Errorf("%d lines, want three calls, each once", n)
	}

	op, err := (&options{config: r.path}).operate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer op.close()
	var list []sink.Status
	if err := op.get(t.Context(), "/api/v1/sinks", &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].Name != "out" || list[0].Sent != 3 || list[0].LagEntries != 0 || list[0].State != sink.Current {
		t.Errorf("%+v", list)
	}
	if _, page := r.ask(t, "http://"+r.doors.admin.Addr().String()+"/metrics", "", ""); !strings.Contains(page, `tollgate_sink_sent_total{sink="out"} 3`) || !strings.Contains(page, `tollgate_sink_lag{sink="out"} 0`) {
		t.Error("the metrics do not tell of the sink")
	}
	for path, to := range map[string]string{"out": "2020-01-01", url.PathEscape("no/such"): "1h"} {
		err := op.post(t.Context(), "/api/v1/sinks/"+path+"/rewind", rewind{to}, nil)
		if (err == nil) != (path == "out") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := op.post(t.Context(), "/api/v1/sinks/out/rewind", rewind{"soon"}, nil); err == nil {
		t.Error("rewound to no time")
	}
	if n := lines(); n != 6 {
		t.Errorf("%d lines after all were sent again, want 6", n)
	}
	if err := op.post(t.Context(), "/api/v1/sinks/out/rewind", rewind{time.Now().Add(time.Hour).Format(time.RFC3339)}, nil); err != nil {
		t.Error(err)
	}
	if n := lines(); n != 6 {
		t.Errorf("%d lines after it was sent into the future", n)
	}
}
