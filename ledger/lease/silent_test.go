package lease

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestSilenceIsWhatAliveGoesBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, "30 calls / 1d")
		w.start()
		c := w.sites[0].client
		time.Sleep(10 * time.Second)
		if d, ok := c.Silent(); !ok || d > c.offline {
			t.Errorf("silent for %s (%v) while the database answers", d, ok)
		}
		w.stop()
		if _, ok := c.Silent(); ok {
			t.Error("silent after it has left")
		}
	})
}
