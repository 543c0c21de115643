package checker

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tollgate/tollgate/conformance/chaos/evidence"
	"github.com/tollgate/tollgate/conformance/chaos/plan"
)

// Input is all that the checker knows of a run.
type Input struct {
	Plan     *plan.Plan
	Calls    []evidence.Call
	Requests []evidence.Request // of all upstreams
	Journals []Journal
	Zone     time.Duration // of the calendar, east of UTC
	Lowered  []Lowered
	Index    []Indexed // what a replica answered when it was asked for all entries; nil: it was not asked
	Unproven string    // why what is signed could not be verified; empty: it was
}

// Indexed is an entry as a gateway answers it from its index.
type Indexed struct {
	ID      string
	Writer  string
	Seq     uint64
	Kind    string
	Cost    int64
	Outcome string
}

// Lowered is a limit that was lower for a while, on one replica at least.
type Lowered struct {
	Limit       plan.Limit // with the lower amount
	From, Until int64      // of true time
}

// Rule names what a finding breaks.
type Rule string

// The rules.
const (
	Unreserved Rule = "a request reached an upstream without a reservation of its own"
	Unknown    Rule = "a request reached an upstream that no worker made"
	Open       Rule = "a reservation has no end"
	Twice      Rule = "something was written twice"
	Freed      Rule = "a call that reached its upstream was voided"
	Invented   Rule = "a call is settled as answered that no upstream saw"
	Misposted  Rule = "a call is settled for another amount than its upstream bills"
	Lineless   Rule = "an answer or a refusal has no line"
	Crossed    Rule = "an answer went to another call"
	Exceeded   Rule = "a limit was exceeded"
	Unindexed  Rule = "the index and the journals differ"
	Unproven   Rule = "the signed tree over the entries cannot be verified"
)

// Finding is one place where a promise was broken, with the lines that show it.
type Finding struct {
	Rule  Rule
	Text  string
	Lines []string
}

// Report is what was found, and the figures of the run.
type Report struct {
	Findings []Finding
	Limits   []Reached

	Calls     map[evidence.Result]int // of workers, by result
	Requests  map[evidence.Answer]int // that reached upstreams, by answer
	Entries   int
	Indexed   int            // of these, those that the index has
	Ends      map[string]int // of reservations of calls, by status; "open" for those without
	Unseen    map[string]int // of these, those whose call never reached an upstream
	Estimated int            // ends that are estimates
	Bill      int64          // nano-dollars that the upstreams bill
	Posted    int64          // nano-dollars in the ledger for what reached them
	Below     int64          // by how much estimates in it are too low, summed
}

// linesMax bounds the lines of evidence of one finding.
const linesMax = 12

// call is a call of a worker and what came of it.
type call struct {
	evidence.Call
	key          *plan.Key
	requests     []*request
	reservations []*reservation
	denied       []*Entry
}

// request is a request at an upstream and the reservation that it was made under.
type request struct {
	evidence.Request
	path   string
	call   *call
	under  *reservation
	bill   int64 // nano-dollars
	tokens int64
}

// reservation is a reserved entry and what became of it.
type reservation struct {
	*Entry
	journal             *Journal
	hold, worst         int64 // with what was reserved later
	tokens, worstTokens int64
	ends                []*Entry
	request             *request
}

// state is a run as it is put together.
type state struct {
	in           *Input
	report       *Report
	calls        map[string]*call
	order        []*call
	requests     []*request
	reservations []*reservation
}

// Check puts a run together and says what does not hold.
func Check(in *Input) *Report {
	s := &state{in: in, calls: map[string]*call{}, report: &Report{
		Calls: map[evidence.Result]int{}, Requests: map[evidence.Answer]int{}, Ends: map[string]int{}, Unseen: map[string]int{},
	}}
	s.readCalls()
	s.readRequests()
	s.readJournals()
	for _, c := range s.order {
		s.match(c)
		s.answered(c)
	}
	s.settled()
	s.indexed()
	if in.Unproven != "" {
		s.find(Unproven, []string{in.Unproven}, "by tollgate audit verify")
	}
	s.limits()
	return s.report
}

func (s *state) find(rule Rule, lines []string, format string, args ...any) {
	s.report.Findings = append(s.report.Findings, Finding{rule, fmt.Sprintf(format, args...), lines[:min(len(lines), linesMax)]})
}

// line shows a record.
func line(what string, record any) string {
	b, err := json.Marshal(record)
	if err != nil {
		return what + ": " + err.Error()
	}
	return what + ": " + string(b)
}

// lines are all that is known of a call.
func (c *call) lines() []string {
	out := []string{line("worker", c.Call)}
	for _, r := range c.requests {
		out = append(out, line("upstream", r.Request))
	}
	for _, r := range c.reservations {
		out = append(out, r.lines()...)
	}
	for _, e := range c.denied {
		out = append(out, line("denied", e))
	}
	return out
}

func (r *reservation) lines() []string {
	out := []string{line("reserved in "+r.journal.Name, r.Entry)}
	for _, e := range r.ends {
		out = append(out, line("ended", e))
	}
	return out
}

func (s *state) readCalls() {
	for _, c := range s.in.Calls {
		s.report.Calls[c.Result]++
		n := &call{Call: c, key: s.in.Plan.Key(c.Key)}
		s.calls[c.Nonce] = n
		s.order = append(s.order, n)
	}
}

func (s *state) readRequests() {
	for _, r := range s.in.Requests {
		s.report.Requests[r.Answer]++
		c := s.calls[r.Nonce]
		if c == nil {
			s.find(Unknown, []string{line("upstream", r)}, "a request to %s/%s", r.Upstream, r.Target)
			continue
		}
		n := &request{Request: r, path: r.Upstream + "/" + r.Target, call: c}
		if r.Answer != evidence.Refused && r.Answer != evidence.NoSession {
			price := plan.Of(n.path)
			n.tokens = r.Input + r.Output
			n.bill = price.Input*r.Input + price.Output*r.Output + price.Call
		}
		s.report.Bill += n.bill
		c.requests = append(c.requests, n)
		if r.Answer != evidence.NoSession {
			s.requests = append(s.requests, n)
		}
	}
}

// readJournals puts reservations and their ends together, over all journals.
func (s *state) readJournals() {
	byID := map[string]*reservation{}
	places := map[string]string{}
	for j := range s.in.Journals {
		journal := &s.in.Journals[j]
		s.report.Entries += len(journal.Entries)
		for i := range journal.Entries {
			e := &journal.Entries[i]
			place := fmt.Sprintf("%s/%d", e.Writer, e.Seq)
			if other, ok := places[place]; ok {
				s.find(Twice, []string{line("entry", e)}, "writer and sequence of an entry in %s stand in %s as well", journal.Name, other)
			}
			places[place] = journal.Name
			s.readEntry(journal, e, byID)
		}
	}
}

func (s *state) readEntry(journal *Journal, e *Entry, byID map[string]*reservation) {
	known := byID[e.Resolves]
	switch {
	case e.Kind == Denied:
		if c := s.calls[e.Trace]; c != nil {
			c.denied = append(c.denied, e)
		}
	case e.Kind == Reserved && e.Resolves == "":
		if again := byID[e.ID]; again != nil {
			s.find(Twice, append(again.lines(), line("reserved in "+journal.Name, e)), "call %s was reserved twice", e.ID)
		}
		r := &reservation{Entry: e, journal: journal}
		r.extend(e)
		byID[e.ID] = r
		s.reservations = append(s.reservations, r)
		if c := s.calls[e.Trace]; c != nil && e.governed() {
			c.reservations = append(c.reservations, r)
		}
	case e.Kind != Reserved && e.Kind != Posted && e.Kind != Voided:
	case known == nil:
		s.find(Twice, []string{line("entry", e)}, "an entry in %s ends or extends call %s, which was not reserved before it", journal.Name, e.Resolves)
	case len(known.ends) > 0:
		s.find(Twice, append(known.lines(), line("and in "+journal.Name, e)), "call %s had ended already", e.Resolves)
		known.ends = append(known.ends, e)
	case known.journal != journal:
		s.find(Twice, append(known.lines(), line("in "+journal.Name, e)), "call %s is settled in another journal than its own", e.Resolves)
	case e.Kind == Reserved:
		known.extend(e)
	default:
		known.ends = append(known.ends, e)
	}
}

func (r *reservation) extend(e *Entry) {
	r.hold += e.Hold
	r.worst = max(r.worst+e.Hold, e.Worst)
	r.tokens += e.HoldTokens
	r.worstTokens = max(r.worstTokens+e.HoldTokens, e.WorstTokens)
}

// match finds for each request of a call the reservation that it was made under.
func (s *state) match(c *call) {
	for _, q := range c.requests {
		var under *reservation
		for _, r := range c.reservations {
			if r.path() != q.path {
				continue
			}
			if r.request == nil || q.Answer == evidence.NoSession || r.request.Answer == evidence.NoSession {
				under = r
				break
			}
		}
		switch {
		case under == nil:
			s.find(Unreserved, c.lines(), "a request to %s for key %s", q.path, c.Key)
			continue
		case q.Answer != evidence.NoSession || under.request == nil:
			under.request = q
		}
		q.under = under
		if len(under.ends) > 0 && under.ends[0].Kind == Voided {
			s.find(Freed, c.lines(), "a call to %s of key %s", q.path, c.Key)
		}
	}
}

// answered holds that whatever a worker was told has its line.
func (s *state) answered(c *call) {
	switch c.Result {
	case evidence.Answered:
		settled := func(r *reservation) bool {
			return slices.ContainsFunc(r.ends, func(e *Entry) bool { return e.Kind == Posted && (e.Status == "ok" || e.Status == "tool_error") })
		}
		if !slices.ContainsFunc(c.reservations, settled) {
			s.find(Lineless, c.lines(), "an answer of %s to key %s is not settled as one", c.Name, c.Key)
		}
	case evidence.Limited, evidence.Denied:
		if len(c.denied) == 0 {
			s.find(Lineless, c.lines(), "a refusal of %s to key %s", c.Name, c.Key)
		}
	}
	if c.Foreign {
		s.find(Crossed, c.lines(), "the answer of %s to key %s does not repeat its nonce", c.Name, c.Key)
	}
}

// settled holds that each reservation has its end, and that what is posted is true.
func (s *state) settled() {
	for _, r := range s.reservations {
		status := "open"
		if len(r.ends) > 0 {
			status = r.ends[0].Status
		} else if !r.journal.Gone {
			s.find(Open, r.lines(), "call %s in %s", r.ID, r.journal.Name)
		}
		if !r.governed() {
			continue
		}
		s.report.Ends[status]++
		if r.request == nil {
			s.report.Unseen[status]++
			if status == "ok" || status == "tool_error" {
				s.find(Invented, r.lines(), "a call to %s", r.path())
			}
			continue
		}
		if len(r.ends) > 0 {
			s.posted(r, r.ends[0])
		}
	}
}

func (s *state) posted(r *reservation, end *Entry) {
	q := r.request
	s.report.Posted += end.Cost
	if end.Estimated {
		s.report.Estimated++
		s.report.Below += max(0, q.bill-end.Cost)
		return
	}
	if end.Cost != q.bill || end.Tokens != q.tokens {
		s.find(Misposted, q.call.lines(), "%s: %d nano-USD and %d tokens are posted, %d and %d billed", r.path(), end.Cost, end.Tokens, q.bill, q.tokens)
	}
}

// indexed holds that the index has what the journals have of calls, once. What a lost directory had written last may not
// have got there, nor what was written after the question.
func (s *state) indexed() {
	if s.in.Index == nil {
		return
	}
	there := map[string]*Indexed{}
	for i := range s.in.Index {
		e := &s.in.Index[i]
		place := fmt.Sprintf("%s/%d", strings.ReplaceAll(e.Writer, "-", ""), e.Seq)
		if there[place] != nil {
			s.find(Unindexed, []string{line("index", e)}, "%s stands twice in the index", place)
		}
		there[place] = e
	}
	kinds := map[Kind]string{Denied: "denied", Reserved: "reserved", Posted: "posted", Voided: "voided"}
	for _, journal := range s.in.Journals {
		for i := range journal.Entries {
			e := &journal.Entries[i]
			place := fmt.Sprintf("%s/%d", e.Writer, e.Seq)
			got := there[place]
			delete(there, place)
			switch {
			case got == nil && (journal.Gone || !e.governed()):
			case got == nil:
				s.find(Unindexed, []string{line("in "+journal.Name, e)}, "%s is not in the index", place)
			case strings.ReplaceAll(got.ID, "-", "") != e.ID || kinds[e.Kind] != "" && (kinds[e.Kind] != got.Kind || e.Cost != got.Cost || e.Status != got.Outcome):
				s.find(Unindexed, []string{line("in "+journal.Name, e), line("index", got)}, "%s is another entry in the index", place)
			default:
				s.report.Indexed++
			}
		}
	}
	for place, e := range there {
		s.find(Unindexed, []string{line("index", e)}, "%s is in the index and in no journal", place)
	}
}

// Summary writes a count of each kind of finding.
func (r *Report) Summary() string {
	if len(r.Findings) == 0 {
		return "nothing is wrong"
	}
	count := map[Rule]int{}
	for _, f := range r.Findings {
		count[f.Rule]++
	}
	var out []string
	for _, rule := range slices.Sorted(maps.Keys(count)) {
		out = append(out, fmt.Sprintf("%d × %s", count[rule], rule))
	}
	return strings.Join(out, "; ")
}
