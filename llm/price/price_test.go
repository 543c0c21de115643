package price

import (
	"errors"
	"testing"
	"time"

	"github.com/tollgate/tollgate/ledger"
)

var day = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func TestSmoke(t *testing.T) {
	c, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range [][2]string{{"openai", "gpt-5.2"}, {"openai", "gpt-5.2-2025-12-11"}, {"anthropic", "claude-haiku-4-5-20251001"}, {"gemini", "gemini-3.6-flash"}} {
		p, ok := c.Lookup(n[0], n[1], day)
		if !ok {
			t.Fatal(n)
		}
		q := ledger.Quantities{InputTokens: 1000, OutputTokens: 100}
		t.Log(p.Name, p.Cost(&q, ""), p.Hold(Ask{Bytes: 4000, Input: 1000, MaxOutput: 500}))
	}
	if _, err := c.Find(&Terms{Provider: "x", Kind: "openai"}, "gpt-99", day); !errors.Is(err, ErrUnknownPrice) {
		t.Fatal(err)
	}
	if _, err := Parse(map[string]string{"input": "0.10 USD/1M", "output": "0.40 USD/1M"}); err != nil {
		t.Fatal(err)
	}
}
