package settings

import (
	"strings"
	"testing"
	"time"
)

func TestRetentionIsANumberOfDays(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, "retention: 1d": 24 * time.Hour, "retention: 400d": 400 * 24 * time.Hour} {
		if s, err := prepared(t, text); err != nil || time.Duration(s.Retention) != want {
			t.Errorf("%q: %v, %v", text, s, err)
		}
	}
	for _, text := range []string{"0d", "400", "1y", "-3d", "1.5d", "99999999999999999999d", "36501d", "12h"} {
		if _, err := prepared(t, "retention: "+text); err == nil || !strings.Contains(err.Error(), "write 30d or 400d") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
