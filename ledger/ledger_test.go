package ledger_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/policy"
)

var noon = time.Date(2026, 11, 14, 12, 0, 0, 0, time.UTC)

func open(t *testing.T, cfg ledger.Config) *ledger.Ledger {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	l, err := ledger.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func parse(t *testing.T, texts ...string) []ledger.Limit {
	t.Helper()
	var out []ledger.Limit
	for _, text := range texts {
		l, err := ledger.ParseLimit(text)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}

var bot = &policy.Principal{Customer: "acme", Team: "platform", Key: "bot", KeyID: "k1", User: "ann"}

func toolCall() *policy.Call {
	return &policy.Call{Principal: bot, Action: policy.ToolCall, Upstream: "tracker", Target: "search"}
}

func TestHardLimitLetsExactlyAsManyThroughAsThereIsMoneyFor(t *testing.T) {
	l := open(t, ledger.Config{})
	l.SetLimits(map[ledger.Scope][]ledger.Limit{{Level: ledger.KeyLevel, Name: "k1"}: parse(t, "1 USD / 1d hard")})
	var passed atomic.Int32
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			r, err := l.Reserve(context.Background(), toolCall(), nil, ledger.Hold{Cost: ledger.USD / 20, Worst: ledger.USD / 10})
			if over, ok := errors.AsType[*ledger.LimitError](err); ok {
				if over.Never || over.RetryAfter <= 0 {
					t.Errorf("%+v", over)
				}
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			passed.Add(1)
			if err := r.Post(ledger.Outcome{Status: ledger.OK, Usage: ledger.Usage{Cost: ledger.USD / 10}}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if passed.Load() != 10 {
		t.Errorf("%d calls passed, want 10", passed.Load())
	}
	if got := l.Spend(bot, time.Now()).KeyToday; got != 1 {
		t.Errorf("spent %v", got)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestBalancesComeBackFromEntries(t *testing.T) {
	dir := t.TempDir()
	clock := func() time.Time { return noon }
	at := map[ledger.Scope][]ledger.Limit{{Level: ledger.KeyLevel, Name: "k1"}: parse(t, "3 calls / 1m", "1 USD / 1M")}
	l := open(t, ledger.Config{Dir: dir, Now: clock})
	l.SetLimits(at)
	for i := range 3 {
		r, err := l.Reserve(context.Background(), toolCall(), nil, ledger.Hold{Cost: 100})
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 { // the first stays open
			if err := r.Post(ledger.Outcome{Status: ledger.OK, Usage: ledger.Usage{Cost: 7}}); err != nil {
				t.Fatal(err)
			}
			if err := r.Post(ledger.Outcome{}); !errors.Is(err, ledger.ErrEnded) {
				t.Errorf("second end: %v", err)
			}
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, ledger.Config{Dir: dir, Now: clock})
	defer l.Close()
	if n := l.Recovery().Interrupted; n != 1 {
		t.Errorf("%d interrupted, want 1", n)
	}
	l.SetLimits(at)
	_, err := l.Reserve(context.Background(), toolCall(), nil, ledger.Hold{Cost: 100})
	over, ok := errors.AsType[*ledger.LimitError](err)
	if !ok || over.Unit != ledger.UnitCalls || over.RetryAfter != 61*time.Second {
		t.Errorf("fourth call in the minute: %+v (%v)", over, err)
	}
	if got, want := l.Spend(bot, noon).KeyMonth, 114e-9; got != want {
		t.Errorf("spent %v, want %v", got, want)
	}
}
