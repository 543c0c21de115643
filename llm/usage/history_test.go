package usage

import (
	"fmt"
	"math"
	"sync"
	"testing"

	"github.com/tollgate/tollgate/ledger"
)

func TestExpectationsFollowWhatIsReported(t *testing.T) {
	h := NewHistory()
	size := Size{Bytes: 40_000}
	if input, output := h.Expect("k", "p/m", size); input != 10_000 || output != 0 {
		t.Errorf("at first: %d, %d", input, output)
	}
	for range 30 { // a tokenizer that makes a token of five bytes
		h.Observe("k", "p/m", size, &ledger.Quantities{InputTokens: 1_000, CacheReadTokens: 6_500, CacheWriteTokens: 500, OutputTokens: 100})
	}
	if input, _ := h.Expect("other", "p/m", size); math.Abs(float64(input-8_000)) > 100 {
		t.Errorf("after thirty calls: %d, want about 8000", input)
	}
	if input, _ := h.Expect("k", "p/other", size); input != 10_000 {
		t.Errorf("another model: %d", input)
	}
	if input, _ := h.Expect("k", "p/m", Size{Bytes: 40_000, Media: 1_600}); math.Abs(float64(input-9_600)) > 100 {
		t.Errorf("with a picture: %d", input)
	}
}

func TestNobodyDragsTheRatioOff(t *testing.T) {
	h := NewHistory()
	for range 1_000 {
		h.Observe("k", "p/m", Size{Bytes: 1 << 40}, &ledger.Quantities{InputTokens: 1})
	}
	if input, _ := h.Expect("k", "p/m", Size{Bytes: 80}); input < 10 {
		t.Errorf("80 bytes are expected to be %d tokens", input)
	}
	for range 1_000 {
		h.Observe("k", "p/m", Size{Bytes: 1}, &ledger.Quantities{InputTokens: 1 << 40})
	}
	if input, _ := h.Expect("k", "p/m", Size{Bytes: 80}); input > 80 {
		t.Errorf("80 bytes are expected to be %d tokens", input)
	}
	h = NewHistory()
	before, _ := h.Expect("k", "p/m", Size{Bytes: 8_000})
	h.Observe("k", "p/m", Size{Bytes: 10, Media: 1_600}, &ledger.Quantities{InputTokens: 9_000})
	h.Observe("k", "p/m", Size{Bytes: 10, Remote: true}, &ledger.Quantities{InputTokens: 9_000})
	if after, _ := h.Expect("k", "p/m", Size{Bytes: 8_000}); after != before {
		t.Errorf("media and stored input say nothing of bytes per token: %d, %d", before, after)
	}
}

func TestRecentOutputs(t *testing.T) {
	h := NewHistory()
	observe := func(key string, tokens ...int64) int64 {
		for _, n := range tokens {
			h.Observe(key, "p/m", Size{}, &ledger.Quantities{OutputTokens: n - n/2, ReasoningTokens: n / 2})
		}
		_, out := h.Expect(key, "p/m", Size{})
		return out
	}
	if got := observe("k", 10, 20, 30, 40); got != 0 {
		t.Errorf("four answers are no distribution: %d", got)
	}
	if got := observe("k", 50); got != 50 {
		t.Errorf("five: %d", got)
	}
	var hundred []int64
	for i := range int64(100) {
		hundred = append(hundred, i+1)
	}
	if got := observe("other", hundred...); got != 97 { // the 61st of the last 64: 37 to 100
		t.Errorf("the last 64 of a hundred: %d", got)
	}
	if got := observe("other", 1<<40); got != 98 {
		t.Errorf("one that is far off does not count alone: %d", got)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	h := NewHistory()
	for i := range 3 * pairsMax {
		key := fmt.Sprint(i)
		h.Observe(key, "p/"+key, Size{Bytes: 400}, &ledger.Quantities{InputTokens: 200, OutputTokens: 5})
	}
	pairs, models := len(h.recent.young)+len(h.recent.old), len(h.ratios.young)+len(h.ratios.old)
	if pairs > pairsMax || models > modelsMax || pairs < pairsMax/2 || models < modelsMax/2 {
		t.Errorf("%d pairs, %d models", pairs, models)
	}
	if input, _ := h.Expect("x", fmt.Sprintf("p/%d", 3*pairsMax-1), Size{Bytes: 400}); input == 100 {
		t.Error("the newest model is forgotten")
	}
	if input, _ := h.Expect("x", "p/0", Size{Bytes: 400}); input != 100 {
		t.Error("the oldest is not")
	}
}

func TestHistoryIsShared(t *testing.T) {
	h := NewHistory()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 500 {
				key := fmt.Sprint((i + j) % 5)
				h.Observe(key, key, Size{Bytes: 100}, &ledger.Quantities{InputTokens: 20, OutputTokens: int64(j + 1)})
				h.Expect(key, key, Size{Bytes: 100})
			}
		})
	}
	wg.Wait()
	if input, output := h.Expect("0", "0", Size{Bytes: 100}); input < 15 || input > 26 || output < 400 {
		t.Errorf("%d, %d", input, output)
	}
}

func BenchmarkExpect(b *testing.B) {
	h := NewHistory()
	for i := range 100 {
		h.Observe("k", "openai/gpt-5.2", Size{Bytes: 400}, &ledger.Quantities{InputTokens: 100, OutputTokens: int64(i)})
	}
	b.ReportAllocs()
	for b.Loop() {
		h.Expect("k", "openai/gpt-5.2", Size{Bytes: 48_000})
	}
}

func BenchmarkObserve(b *testing.B) {
	h := NewHistory()
	q := &ledger.Quantities{InputTokens: 100, OutputTokens: 700}
	b.ReportAllocs()
	for b.Loop() {
		h.Observe("k", "openai/gpt-5.2", Size{Bytes: 400}, q)
	}
}
