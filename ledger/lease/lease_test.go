package lease

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate/tollgate/ledger"
)

// At the edge of a limit exactly as many calls get through as it has room for, wherever they are made.
func TestExactlyAsManyGetThroughAsThereIsRoomFor(t *testing.T) {
	for _, text := range []string{"100 calls / 1d", "100 calls / 1h", "100 concurrent", "0.0000001 USD / 1M hard"} {
		for _, mute := range []bool{false, true} {
			t.Run(text, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, 5, text)
					w.m.mute = mute
					w.start()
					var wg sync.WaitGroup
					for _, s := range w.sites {
						for range 40 {
							wg.Go(func() {
								for range 2 {
									_, err := s.call(1)
									if err != nil && !refusedByLimit(t, err) {
										t.Error(err)
									}
									time.Sleep(time.Millisecond)
								}
							})
						}
					}
					wg.Wait()
					if w.passed() != 100 {
						t.Errorf("%d calls passed, want 100", w.passed())
					}
					w.check()
					w.granted()
					w.stop()
				})
			})
		}
	}
}

// What one replica keeps without use another gets within the time a call waits.
func TestNobodyIsRefusedWhileOthersKeepRoom(t *testing.T) {
	for _, mute := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 3, "30 calls / 1d", "20 concurrent")
			w.m.mute = mute
			w.start()
			for _, s := range w.sites { // each gets more than it needs
				for range 3 {
					c, err := s.call(1)
					if err != nil {
						t.Fatal(err)
					}
					c.end(1)
				}
			}
			for i := range 21 {
				before := time.Now()
				c, err := w.sites[0].call(1)
				if err != nil {
					t.Fatalf("call %d after %s: %v", i, time.Since(before), err)
				}
				c.end(1)
			}
			_, err := w.sites[1].call(1)
			over, ok := errors.AsType[*ledger.LimitError](err)
			if !ok || over.Left != "0 calls" || over.RetryAfter <= 0 {
				t.Errorf("%+v (%v)", over, err)
			}
			w.check()
			w.granted()
			w.stop()
		})
	}
}
