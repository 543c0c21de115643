package index_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/index"
)

// An index that stands in what a salvage put aside begins anew, and counts nothing twice.
func testGoesOnAfterSalvage(t *testing.T, on *engine) {
	dir := t.TempDir()
	b := openOn(t, on, dir)
	for range 3 {
		b.fill()
		b.caughtUp() // with a sync: what was not the last is no torn tail
	}
	before, err := b.ix.Usage(t.Context(), index.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	b.close()
	segment := filepath.Join(dir, "000000000001.journal")
	text, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	text[200] ^= 1
	if err := errors.Join(os.WriteFile(segment, text, 0o600), os.Remove(filepath.Join(dir, "balances.checkpoint"))); err != nil {
		t.Fatal(err)
	}
	storage, err := durable.Disk(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Salvage(storage); err != nil {
		t.Fatal(err)
	}
	b = openQuietly(t, on, dir)
	defer b.close()
	b.post(b.reserve("bot", "llm.chat", "openai", "after-salvage"), ledger.OK, 7)
	for b.ix.CatchUp(t.Context()) != nil {
		time.Sleep(10 * time.Millisecond) // until the feed has tried again
	}
	after, err := b.ix.Usage(t.Context(), index.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	// One call that the cut left open may have been posted as interrupted besides.
	if more := after.Total.Calls - before.Total.Calls; more < 1 || more > 2 {
		t.Errorf("%d calls were counted beside the %d before", more, before.Total.Calls)
	}
	if got, err := b.ix.Calls(t.Context(), index.Filter{Target: "after-salvage"}); err != nil || len(got.Items) != 1 {
		t.Errorf("%+v, %v", got.Items, err)
	}
}
