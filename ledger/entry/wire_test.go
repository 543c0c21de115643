package entry_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/ledger/entry"
)

var noon = time.Date(2026, 11, 14, 12, 0, 0, 0, time.UTC)

// whole is an entry with every field set.
func whole() entry.Entry {
	e := entry.Entry{
		ID: entry.NewID(noon), Time: noon, Kind: entry.Posted, Resolves: entry.NewID(noon), Parent: entry.NewID(noon),
		Trace: entry.TraceID{1, 2}, Who: entry.Who{Customer: "acme", Team: "platform", Key: "bot", KeyID: "k1", User: "ann", Client: "cli/1"},
		OnBehalf: "bot", Source: "203.0.113.7", Action: "llm.chat", Upstream: "openai", Target: "gpt-5", Rules: []string{"a", "b"},
		Limits: []string{"a/key"}, Revision: "r1", Attempt: 2, Counted: true, Digest: entry.Digest{3},
		Hold: 1, Worst: 2, HoldTokens: 3, WorstTokens: 4, PriceList: "2026-11", Prices: map[string]entry.Nano{"input": 5, "output": 6},
		Cost: 7, Estimated: true, Status: entry.Cut, Code: 200, Latency: 42 * time.Millisecond, Detail: "cut short", Result: entry.Digest{4}, Payload: "full",
	}
	q := reflect.ValueOf(&e.Quantities).Elem()
	for i := range q.NumField() {
		q.Field(i).SetInt(int64(i + 1))
	}
	return e
}

func TestEntrySurvivesTheJournal(t *testing.T) {
	e := whole()
	v := reflect.ValueOf(e)
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; v.Field(i).IsZero() && name != "Writer" && name != "Seq" {
			t.Errorf("the test leaves %s out", name)
		}
	}
	got, err := entry.Decode(e.Append(nil))
	if err != nil || !reflect.DeepEqual(got, e) {
		t.Errorf("got  %+v\nwant %+v\n%v", got, e, err)
	}
	e.Cost, e.Latency = -7, -1 // varints of what is below zero
	if got, err := entry.Decode(e.Append(nil)); err != nil || got.Cost != -7 || got.Latency != -1 {
		t.Errorf("%+v, %v", got, err)
	}
}

// A later version's fields are skipped, an earlier one's absence is zero.
func TestUnknownFieldsAreSkipped(t *testing.T) {
	e := whole()
	wire := e.Append(nil)
	wire = append(wire, 0xf8, 0x07, 0x05)                   // field 127, varint
	wire = append(wire, 0xfa, 0x07, 0x02, 'h', 'i')         // bytes
	wire = append(wire, 0xf9, 0x07, 1, 2, 3, 4, 5, 6, 7, 8) // fixed64
	wire = append(wire, 0xfd, 0x07, 1, 2, 3, 4)             // fixed32
	if got, err := entry.Decode(wire); err != nil || !reflect.DeepEqual(got, e) {
		t.Errorf("%+v, %v", got, err)
	}
}

// An item of a list or map is not lost for being empty.
func TestEmptyItemsSurvive(t *testing.T) {
	e := whole()
	e.Rules, e.Limits, e.Prices = []string{"", "a"}, []string{""}, map[string]entry.Nano{"": 0}
	got, err := entry.Decode(e.Append(nil))
	if err != nil || len(got.Rules) != 2 || len(got.Limits) != 1 || len(got.Prices) != 1 {
		t.Errorf("%q %q %v %v", got.Rules, got.Limits, got.Prices, err)
	}
}

func FuzzDecode(f *testing.F) {
	e := whole()
	f.Add(e.Append(nil))
	f.Add([]byte{0x08, 0x02})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := entry.Decode(b)
		if err != nil {
			return
		}
		again, err := entry.Decode(e.Append(nil))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(e) {
			t.Fatalf("%+v\n%+v\n%v", e, again, err)
		}
		if _, err := json.Marshal(e); err != nil {
			t.Fatal(err)
		}
	})
}

// The public form of an entry.
func TestEntryJSON(t *testing.T) {
	e := whole()
	e.ID, _ = entry.ParseID("019a8250-0000-7000-8000-000000000001")
	e.Resolves, _ = entry.ParseID("019a8250-0000-7000-8000-000000000002")
	e.Parent = entry.ID{}
	e.Quantities = entry.Quantities{InputTokens: 7, Calls: 1}
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"id":"019a8250-0000-7000-8000-000000000001","time":"2026-11-14T12:00:00Z","kind":"posted",` +
		`"resolves":"019a8250-0000-7000-8000-000000000002","trace":"01020000000000000000000000000000",` +
		`"principal":{"customer":"acme","team":"platform","key":"bot","key_id":"k1","user":"ann","client":"cli/1"},` +
		`"on_behalf":"bot","source":"203.0.113.7","action":"llm.chat","upstream":"openai","target":"gpt-5","rules":["a","b"],` +
		`"limits":["a/key"],"revision":"r1","attempt":2,"counted":true,` +
		`"digest":"0300000000000000000000000000000000000000000000000000000000000000","hold":1,"worst":2,"hold_tokens":3,` +
		`"worst_tokens":4,"price_list":"2026-11","prices":{"input":5,"output":6},"cost":7,` +
		`"quantities":{"input_tokens":7,"calls":1},"estimated":true,"outcome":"cut","code":200,"detail":"cut short","result_digest":"0400000000000000000000000000000000000000000000000000000000000000","payload":"full","latency_ms":42}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	b, err = json.Marshal(entry.Entry{ID: e.ID, Time: noon, Kind: entry.Denied, Detail: "no"})
	if err != nil || strings.Contains(string(b), "principal") || strings.Contains(string(b), "latency") {
		t.Errorf("%s, %v", b, err)
	}
}

func BenchmarkEncode(b *testing.B) {
	e := whole()
	e.Prices = nil
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = e.Append(buf[:0])
	}
	b.SetBytes(int64(len(buf)))
}
