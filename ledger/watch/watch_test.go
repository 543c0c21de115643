package watch_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/internal/durabletest"
	"github.com/tollgate/tollgate/internal/telemetry"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/watch"
	"github.com/tollgate/tollgate/policy"
)

func TestMetricsTellOfTheDisk(t *testing.T) {
	tel, err := telemetry.Start(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	defer tel.Shutdown(context.Background())
	took, err := watch.Syncs(tel.Meter)
	if err != nil {
		t.Fatal(err)
	}
	disk := durabletest.New()
	disk.Limit(64 << 20)
	l, err := ledger.Open(ledger.Config{Storage: disk, SyncTook: took})
	if err != nil {
		t.Fatal(err)
	}
	stop, err := watch.Observe(tel.Meter, l)
	if err != nil {
		t.Fatal(err)
	}
	shows := func(want ...string) {
		t.Helper()
		w := httptest.NewRecorder()
		tel.Metrics.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		for _, text := range want {
			if !strings.Contains(w.Body.String(), text) {
				t.Errorf("without %s: %s", text, w.Body)
			}
		}
	}
	if err := l.Deny(&policy.Call{Principal: &policy.Principal{Key: "bot"}, Action: policy.ToolCall}, nil, "no"); err != nil {
		t.Fatal(err)
	}
	if err := l.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	shows("tollgate_journal_sync_duration_seconds_count ", "tollgate_journal_waiting_bytes 0", "tollgate_journal_segments 1",
		"tollgate_journal_size_bytes ", "tollgate_journal_disk_free_bytes ", "tollgate_journal_writable_ratio 1")
	disk.Break(func(durabletest.Op, string) durabletest.Fault { return durabletest.Lost })
	if err := l.Deny(&policy.Call{Principal: &policy.Principal{Key: "bot"}, Action: policy.ToolCall}, nil, "no"); err == nil {
		t.Error("written on a broken disk")
	}
	shows("tollgate_journal_writable_ratio 0")
	disk.Break(nil)
	shows("tollgate_journal_writable_ratio 1")
	if err := stop(); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
