package ledger_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/policy"
)

// register is a store of subjects whose pseudonyms show the name backwards, so that a test can tell whose they are.
type register struct {
	mu     sync.Mutex
	fails  error
	erased int // how often everybody was erased
}

func (r *register) breakWith(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fails = err
}

func (r *register) Pseudonym(name string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return "u_" + backwards(name) + strings.Repeat("_", r.erased), r.fails
}

func (r *register) erase() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.erased++
}

func backwards(s string) string {
	var b strings.Builder
	for i := len(s) - 1; i >= 0; i-- {
		b.WriteByte(s[i])
	}
	return b.String()
}

const person = "annika.canary@example.org"

func personal(name string) *policy.Call {
	p := *bot
	p.User = name
	return &policy.Call{Principal: &p, Action: policy.ToolCall, Upstream: "tracker", Target: "search"}
}

func entries(t *testing.T, l *ledger.Ledger) []ledger.Entry {
	t.Helper()
	if err := l.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := l.Reader(journal.Position{})
	defer r.Close()
	var all []ledger.Entry
	for e, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, *e)
	}
	return all
}

func TestNameOfUserStandsNowhereInTheLedger(t *testing.T) {
	dir := t.TempDir()
	l := open(t, ledger.Config{Dir: dir, Subjects: &register{}})
	l.SetLimits(map[ledger.Scope][]ledger.Limit{
		{Level: ledger.UserLevel, Name: person}:  parse(t, "2 calls / 1d"),
		{Level: ledger.UserLevel, Name: "other"}: parse(t, "0 calls / 1d"),
	})
	byRule := &policy.Decision{Limits: []policy.RuleLimit{{Rule: "r", Limit: "1 calls / 1m", Per: "user"}}}
	first, err := l.Reserve(t.Context(), personal(person), byRule, ledger.Hold{})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Post(ledger.Outcome{Status: ledger.OK}); err != nil {
		t.Fatal(err)
	}
	_, err = l.Reserve(t.Context(), personal(person), byRule, ledger.Hold{})
	if err == nil || !strings.Contains(err.Error(), "rule r for user u_"+backwards(person)) {
		t.Errorf("past the limit of the rule: %v", err)
	}
	if _, err := l.Reserve(t.Context(), personal(person), nil, ledger.Hold{}); err != nil { // stays open
		t.Fatal(err)
	}
	_, err = l.Reserve(t.Context(), personal(person), nil, ledger.Hold{})
	if err == nil || !strings.Contains(err.Error(), "of user u_"+backwards(person)) {
		t.Errorf("past the user's own limit: %v", err)
	}
	if err := l.Deny(personal(person), nil, "not yours"); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries(t, l) {
		if e.Who.User != "u_"+backwards(person) {
			t.Errorf("%s entry of %q", e.Kind, e.Who.User)
		}
	}
	if _, err := l.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, ledger.Config{Dir: dir, Subjects: &register{}}) // posts what was open
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	nowhereIn(t, dir, person)
}

func nowhereIn(t *testing.T, dir, text string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err != nil || strings.Contains(string(b), text) {
			t.Errorf("%s holds %q (%v)", f, text, err)
		}
	}
}

// What a user has used before there were pseudonyms counts against his limits.
func TestUseUnderPlainNameCounts(t *testing.T) {
	dir := t.TempDir()
	clock := func() time.Time { return noon }
	l := open(t, ledger.Config{Dir: dir, Now: clock})
	for range 2 {
		if _, err := l.Reserve(t.Context(), personal("ann"), nil, ledger.Hold{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, ledger.Config{Dir: dir, Now: clock, Subjects: &register{}})
	defer l.Close()
	limit := map[ledger.Scope][]ledger.Limit{{Level: ledger.UserLevel, Name: "ann"}: parse(t, "3 calls / 1d")}
	l.SetLimits(limit)
	if _, err := l.Reserve(t.Context(), personal("ann"), nil, ledger.Hold{}); err != nil {
		t.Errorf("the third call: %v", err)
	}
	l.SetLimits(limit) // from the book again
	if _, err := l.Reserve(t.Context(), personal("ann"), nil, ledger.Hold{}); err == nil {
		t.Error("a fourth call fits")
	}
	if got := l.Balances()[0]; got.Scope.Name != "u_nna" || got.Used+got.Held != 3 {
		t.Errorf("%+v", got)
	}
	if _, err := l.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// A store that fails lets nobody through whom it does not know, and no limit is forgotten over it.
func TestWithoutPseudonymThereIsNoCall(t *testing.T) {
	down := errors.New("disk on fire")
	who := &register{fails: down}
	l := open(t, ledger.Config{Subjects: who})
	defer l.Close()
	l.SetLimits(map[ledger.Scope][]ledger.Limit{{Level: ledger.UserLevel, Name: "ann"}: parse(t, "1 calls / 1d")})
	_, err := l.Reserve(t.Context(), personal("ann"), nil, ledger.Hold{})
	if !errors.Is(err, ledger.ErrUnwritable) {
		t.Errorf("while the store fails: %v", err)
	}
	if err := l.Deny(personal("ann"), nil, "not yours"); err != nil {
		t.Errorf("a denial: %v", err)
	}
	if all := entries(t, l); len(all) != 1 || all[0].Who.User != ledger.UnknownSubject {
		t.Errorf("%+v", all)
	}
	nobody := personal("")
	if _, err := l.Reserve(t.Context(), nobody, nil, ledger.Hold{}); err != nil {
		t.Errorf("a call for no user: %v", err)
	}
	who.breakWith(nil)
	if _, err := l.Reserve(t.Context(), personal("ann"), nil, ledger.Hold{}); err != nil {
		t.Errorf("the store works again: %v", err)
	}
	if _, err := l.Reserve(context.Background(), personal("ann"), nil, ledger.Hold{}); err == nil {
		t.Error("the limit is gone")
	}
}

// Somebody who was erased is new, and under his limits from the first call on.
func TestLimitsGoWithTheirUser(t *testing.T) {
	who := &register{}
	l := open(t, ledger.Config{Subjects: who})
	defer l.Close()
	l.SetLimits(map[ledger.Scope][]ledger.Limit{{Level: ledger.UserLevel, Name: "ann"}: parse(t, "1 calls / 1d")})
	for range 3 {
		if _, err := l.Reserve(t.Context(), personal("ann"), nil, ledger.Hold{}); err != nil {
			t.Error(err)
		}
		if _, err := l.Reserve(t.Context(), personal("ann"), nil, ledger.Hold{}); err == nil {
			t.Error("a second call fits")
		}
		who.erase()
	}
}

func TestDigestsOfCustomersCannotBeCompared(t *testing.T) {
	l, disk := inMemory(t, ledger.Config{DigestKey: []byte("k")})
	defer checked(t, l, disk)
	args := []byte(`{"a":1}`)
	seen := map[ledger.Digest]string{}
	for _, customer := range []string{"", "acme", "globex"} {
		d := l.Digest(customer, args)
		if other, ok := seen[d]; ok {
			t.Errorf("%q and %q have the same", customer, other)
		}
		seen[d] = customer
		h := l.NewDigest(customer)
		h.Write(args[:3])
		h.Write(args[3:])
		if ledger.Digest(h.Sum(nil)) != d || l.Digest(customer, args) != d {
			t.Errorf("%q: in parts it is another", customer)
		}
	}
	c := toolCall() // of acme
	c.Args = args
	if _, err := l.Reserve(t.Context(), c, nil, ledger.Hold{}); err != nil {
		t.Fatal(err)
	}
	if e := entries(t, l)[0]; seen[e.Digest] != "acme" {
		t.Errorf("the entry has the digest of %q", seen[e.Digest])
	}
}

func TestActsAreOnDiskWhenTheyAreRecorded(t *testing.T) {
	l, disk := inMemory(t, ledger.Config{Now: func() time.Time { return noon }})
	defer checked(t, l, disk)
	about := ledger.NewID(noon)
	id, err := l.Record(t.Context(), ledger.Act{
		Action: "payload.read", By: "admin.sock", About: about, User: "u_nna", Target: "chat", Status: ledger.OK, Detail: "ticket 7",
	})
	if err != nil {
		t.Fatal(err)
	}
	e := entries(t, l)[0]
	if e.ID != id || e.Kind != ledger.Admin || e.Parent != about || e.Who != (ledger.Who{Key: "admin.sock", User: "u_nna"}) ||
		e.Action != "payload.read" || e.Target != "chat" || e.Status != ledger.OK || e.Detail != "ticket 7" {
		t.Errorf("%+v", e)
	}
}
