package checker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/conformance/chaos/evidence"
	"github.com/tollgate/tollgate/conformance/chaos/plan"
)

// start is when runs of these tests begin: noon of a day.
var start = time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC)

func at(after time.Duration) int64 { return start.Add(after).UnixNano() }

// honest is a run in which everything is as it should be: 20 calls of each of two keys, one second after the other, on two
// replicas; each costs 0.0002 USD.
func honest() *Input {
	in := &Input{
		Plan: &plan.Plan{
			Keys: []*plan.Key{{Name: "a", Customer: "acme"}, {Name: "b", Customer: "acme"}},
			Limits: []*plan.Limit{
				{Level: "key", Name: "a", Amount: 20, Unit: plan.Calls, Window: "1m"},
				{Level: "key", Name: "b", Amount: 1, Unit: plan.Concurrent},
				{Level: "customer", Name: "acme", Amount: 8_000_000, Unit: plan.USD, Window: "1M"},
			},
		},
		Journals: []Journal{{Name: "one"}, {Name: "two"}},
	}
	for i := range 20 {
		in.add(in.Plan.Keys[i%2], 0, time.Duration(2*i)*time.Second)
		in.add(in.Plan.Keys[i%2], 1, time.Duration(2*i+1)*time.Second)
	}
	return in
}

// add makes one more call, which holds and costs what it should.
func (in *Input) add(k *plan.Key, journal int, after time.Duration) {
	n := len(in.Calls) + 1
	nonce, ms := fmt.Sprintf("%032x", n), time.Millisecond
	in.Calls = append(in.Calls, evidence.Call{
		Nonce: nonce, Key: k.Name, Name: "mail__echo", Sent: at(after), Done: at(after + 9*ms), Result: evidence.Answered, Status: 200,
	})
	in.Requests = append(in.Requests, evidence.Request{
		Seq: int64(n), Nonce: nonce, Upstream: "mail", Target: "echo", Arrived: at(after + 4*ms), Ended: at(after + 6*ms), Answer: evidence.Whole,
	})
	j := &in.Journals[journal]
	e := Entry{Writer: j.Name, Trace: nonce, Action: "tool.call", Upstream: "mail", Target: "echo", Time: at(after + 2*ms)}
	reserved, posted := e, e
	reserved.Kind, reserved.ID, reserved.Hold, reserved.Seq = Reserved, "call"+nonce, 200_000, uint64(len(j.Entries)+1)
	posted.Kind, posted.ID, posted.Resolves, posted.Status, posted.Cost, posted.Seq = Posted, "end"+nonce, reserved.ID, "ok", 200_000, uint64(len(j.Entries)+2)
	j.Entries = append(j.Entries, reserved, posted)
}

// index is what an index that follows all journals has.
func (in *Input) index() {
	in.Index = []Indexed{}
	for _, j := range in.Journals {
		for _, e := range j.Entries {
			kind := map[Kind]string{Reserved: "reserved", Posted: "posted"}[e.Kind]
			in.Index = append(in.Index, Indexed{ID: e.ID, Writer: e.Writer, Seq: e.Seq, Kind: kind, Cost: e.Cost, Outcome: e.Status})
		}
	}
}

func TestAnHonestRunPasses(t *testing.T) {
	r := Check(honest())
	if len(r.Findings) > 0 {
		t.Fatalf("found %+v", r.Findings)
	}
	if len(r.Limits) != 3 || r.Limits[0].Most != 20 || r.Limits[1].Most != 1 || r.Limits[2].Most != 8_000_000 {
		t.Errorf("limits reached: %+v", r.Limits)
	}
	if r.Bill != 8_000_000 || r.Posted != r.Bill || r.Entries != 80 || r.Ends["ok"] != 40 {
		t.Errorf("figures: %+v", r)
	}
}

// Each way in which a run can go wrong or its evidence be altered is found, and nothing else is.
func TestWhatIsWrongIsFound(t *testing.T) {
	last := func(in *Input) *Entry { e := in.Journals[0].Entries; return &e[len(e)-1] }
	for _, tt := range []struct {
		name   string
		change func(*Input)
		want   []Rule
	}{
		{"an upstream saw a call twice", func(in *Input) {
			again := in.Requests[0]
			again.Seq = 1000
			in.Requests = append(in.Requests, again)
		}, []Rule{Exceeded, Unreserved}},
		{"an upstream saw a call that nobody made", func(in *Input) {
			in.Requests = append(in.Requests, evidence.Request{Nonce: "stray", Upstream: "mail", Target: "echo", Answer: evidence.Whole})
		}, []Rule{Unknown}},
		{"a call went to another upstream than was reserved", func(in *Input) { in.Requests[0].Target = "search" }, []Rule{Unreserved, Invented, Exceeded}},
		{"a reservation has no end", func(in *Input) {
			in.Journals[0].Entries = in.Journals[0].Entries[:len(in.Journals[0].Entries)-1]
		}, []Rule{Lineless, Open}},
		{"a reservation of a replica that is gone has no end", func(in *Input) {
			in.Journals[0].Entries = in.Journals[0].Entries[:len(in.Journals[0].Entries)-1]
			in.Journals[0].Gone = true
			in.Calls[38].Result = evidence.Broken
		}, nil},
		{"a call was posted twice", func(in *Input) {
			again := *last(in)
			again.ID, again.Seq = "again", again.Seq+1
			in.Journals[0].Entries = append(in.Journals[0].Entries, again)
		}, []Rule{Twice}},
		{"a call was posted by another replica as well", func(in *Input) {
			again := *last(in)
			again.ID, again.Writer, again.Seq = "again", "two", 1000
			in.Journals[1].Entries = append(in.Journals[1].Entries, again)
		}, []Rule{Twice}},
		{"a call was posted by another replica only", func(in *Input) {
			e := *last(in)
			e.Writer, e.Seq = "two", 1000
			in.Journals[0].Entries = in.Journals[0].Entries[:len(in.Journals[0].Entries)-1]
			in.Journals[1].Entries = append(in.Journals[1].Entries, e)
		}, []Rule{Twice, Lineless, Open}},
		{"a call was reserved twice", func(in *Input) {
			again := in.Journals[0].Entries[0]
			again.Writer, again.Seq = "two", 1000
			in.Journals[1].Entries = append(in.Journals[1].Entries, again, Entry{Kind: Posted, ID: "again", Resolves: again.ID, Writer: "two", Seq: 1001, Time: again.Time})
		}, []Rule{Twice}},
		{"a writer and sequence stand twice", func(in *Input) { in.Journals[1].Entries[0].Writer = "one" }, []Rule{Twice}},
		{"a call that was made is voided", func(in *Input) { last(in).Kind, last(in).Status = Voided, "unsent" }, []Rule{Freed, Lineless}},
		{"a call that nobody saw is posted", func(in *Input) { in.Requests = in.Requests[1:] }, []Rule{Invented}},
		{"too little is posted", func(in *Input) { last(in).Cost-- }, []Rule{Misposted}},
		{"an estimate is too low", func(in *Input) { last(in).Cost, last(in).Estimated = 1, true }, nil},
		{"a call is posted as a free error", func(in *Input) { last(in).Cost, last(in).Status = 0, "upstream_error" }, []Rule{Lineless, Misposted}},
		{"a refusal has no line", func(in *Input) {
			in.Calls = append(in.Calls, evidence.Call{Nonce: "refused", Key: "a", Result: evidence.Limited})
		}, []Rule{Lineless}},
		{"an answer went to another call", func(in *Input) { in.Calls[0].Foreign = true }, []Rule{Crossed}},
		{"one call too many in a minute", func(in *Input) {
			in.add(in.Plan.Keys[0], 1, 40*time.Second)
			in.Plan.Limits[2].Amount += 200_000
		}, []Rule{Exceeded}},
		{"one call more, a minute later", func(in *Input) {
			in.add(in.Plan.Keys[0], 1, time.Minute)
			in.Plan.Limits[2].Amount += 200_000
		}, nil},
		{"one call more, perhaps a minute later", func(in *Input) {
			in.add(in.Plan.Keys[0], 1, 59*time.Second)
			in.Requests[40].Arrived = at(61 * time.Second)
			in.Journals[1].Entries[40].Time = at(61 * time.Second)
			in.Plan.Limits[2].Amount += 200_000
		}, nil},
		{"one call too many by the clock of a replica only", func(in *Input) {
			in.add(in.Plan.Keys[0], 1, 61*time.Second)
			in.Journals[1].Entries[40].Time = at(59 * time.Second)
			in.Plan.Limits[2].Amount += 200_000
		}, []Rule{Exceeded}},
		{"a call too dear for the month", func(in *Input) { in.add(in.Plan.Keys[1], 1, 5*time.Minute) }, []Rule{Exceeded}},
		{"a call too dear, in the next month", func(in *Input) { in.add(in.Plan.Keys[1], 1, 13*time.Hour) }, nil},
		{"a call too dear, in the same month of another zone", func(in *Input) {
			in.add(in.Plan.Keys[1], 1, 13*time.Hour)
			in.Zone = -2 * time.Hour
		}, []Rule{Exceeded}},
		{"two at once", func(in *Input) {
			in.add(in.Plan.Keys[1], 1, 2*time.Second+time.Millisecond)
			in.Plan.Limits[2].Amount += 200_000
		}, []Rule{Exceeded}},
		{"two at once, but the caller of the first had left", func(in *Input) {
			in.add(in.Plan.Keys[1], 1, 2*time.Second+time.Millisecond)
			in.Calls[2].Done = at(2*time.Second + 4*time.Millisecond)
			in.Plan.Limits[2].Amount += 200_000
		}, nil},
		{"an index that has it all", func(in *Input) { in.index() }, nil},
		{"an index that lacks an entry", func(in *Input) { in.index(); in.Index = in.Index[1:] }, []Rule{Unindexed}},
		{"an index that lacks an entry of a lost journal", func(in *Input) {
			in.index()
			in.Index, in.Journals[0].Gone = in.Index[1:], true
		}, nil},
		{"an index that has an entry twice", func(in *Input) { in.index(); in.Index = append(in.Index, in.Index[0]) }, []Rule{Unindexed}},
		{"an index that has an entry of its own", func(in *Input) { in.index(); in.Index = append(in.Index, Indexed{Writer: "x", Seq: 1}) }, []Rule{Unindexed}},
		{"an index with another cost", func(in *Input) { in.index(); in.Index[1].Cost++ }, []Rule{Unindexed}},
		{"an index that was not filled", func(in *Input) {
			in.index()
			in.Index = in.Index[:0]
			in.Journals[0].Gone, in.Journals[1].Gone = true, true
		}, nil},
		{"what was signed is not what is there", func(in *Input) { in.Unproven = "entry 7 was edited" }, []Rule{Unproven}},
		{"a lower limit does not hold", func(in *Input) {
			l := *in.Plan.Limits[0]
			l.Amount = 5
			in.Lowered = []Lowered{{l, at(10 * time.Second), at(25 * time.Second)}}
		}, []Rule{Exceeded}},
		{"a lower limit holds from when it was in force", func(in *Input) {
			l := *in.Plan.Limits[0]
			l.Amount = 5
			in.Lowered = []Lowered{{l, at(10 * time.Second), at(19 * time.Second)}}
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := honest()
			tt.change(in)
			var got []Rule
			for _, f := range Check(in).Findings {
				got = append(got, f.Rule)
				if len(f.Lines) == 0 || strings.Contains(strings.Join(f.Lines, ""), "json:") {
					t.Errorf("%s: evidence %q", f.Rule, f.Lines)
				}
			}
			slices.Sort(got)
			slices.Sort(tt.want)
			if !slices.Equal(got, tt.want) {
				t.Errorf("found %q, want %q", got, tt.want)
			}
		})
	}
}

// What calls cost beyond their hold is allowed, and told; under a hard limit the worst case was held.
func TestThePublishedErrorIsAllowed(t *testing.T) {
	for _, tt := range []struct {
		name    string
		hard    bool
		hold    int64
		worst   int64
		found   bool
		allowed int64
	}{
		{"what was held covers it", false, 200_000, 0, true, 0},
		{"soft, and less was held", false, 150_000, 0, false, 41 * 50_000},
		{"hard, and the worst case covers it", true, 150_000, 200_000, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := honest()
			in.add(in.Plan.Keys[1], 1, time.Minute)
			in.Plan.Limits[2].Hard = tt.hard
			for j := range in.Journals {
				for i := range in.Journals[j].Entries {
					if e := &in.Journals[j].Entries[i]; e.Kind == Reserved {
						e.Hold, e.Worst = tt.hold, tt.worst
					}
				}
			}
			r := Check(in)
			if found := len(r.Findings) > 0; found != tt.found || r.Limits[2].Allowed != tt.allowed {
				t.Errorf("found %q, allowed %d", r.Findings, r.Limits[2].Allowed)
			}
		})
	}
}
