package refusals

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate/tollgate/ledger/entry"
)

func TestKnockingAddsUpToALineAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var written []entry.Entry
		write := func(e entry.Entry) {
			mu.Lock()
			defer mu.Unlock()
			written = append(written, e)
		}
		s := New(time.Now, write)
		knock := func(source string) {
			e := entry.Entry{Time: time.Now(), Source: source, Detail: "no key"}
			if s.First(&e) {
				write(e)
			}
		}
		for range 100 {
			knock("a")
			knock("b")
			time.Sleep(time.Second)
		}
		s.Flush()
		synctest.Wait()
		calls := map[string]int64{}
		for _, e := range written {
			calls[e.Source] += max(e.Quantities.Calls, 1)
		}
		if len(written) > 6 || calls["a"] != 100 || calls["b"] != 100 || !strings.Contains(written[2].Detail, "refusals)") {
			t.Errorf("%d lines for %v knocks: %+v", len(written), calls, written)
		}
	})
}

func TestSourcesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := 0
		s := New(time.Now, func(entry.Entry) { lines++ })
		for i := range 3 * sourcesMax {
			e := entry.Entry{Time: time.Now(), Source: fmt.Sprint(i)}
			if s.First(&e) {
				lines++
			}
		}
		s.Flush()
		if lines != sourcesMax+2 { // each of the first, and of the others the first and their sum
			t.Errorf("%d lines", lines)
		}
	})
}
