package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/ledger/limits"
	"github.com/tollgate/tollgate/policy"
)

const (
	// checkpointName is the file that says what the entries up to a place come to, so that a start need not read them all
	// again. It is a cache: removed, the next start reads the journal from its beginning and comes to the same.
	checkpointName    = "balances.checkpoint"
	checkpointVersion = 1
)

// checkpoint is a book as it is stored: a line with a checksum, and JSON.
type checkpoint struct {
	Version  int
	End      journal.Position // of the entries that are in it
	Last     int64
	Accounts []storedAccount
	Open     []storedHold
}

type storedAccount struct {
	Key   [5]string // rule, customer, team, key, user
	Lanes []storedLane
}

type storedLane struct {
	Key  [3]string // action, upstream, target
	Rows [][5]int64
}

type storedHold struct {
	ID              ID
	At              int64
	Account         [5]string
	Lane            [3]string
	Rules           [][5]string
	Expected, Worst [3]int64 // nano-USD, tokens, calls
	Hard, Slot      bool
	Who             Who
	Parent          ID
	Trace           TraceID
	OnBehalf        string
}

func (k accountKey) stored() [5]string {
	return [5]string{k.rule, k.customer, k.team, k.key, k.user}
}

func accountKeyOf(s [5]string) accountKey { return accountKey{s[0], s[1], s[2], s[3], s[4]} }

func (k laneKey) stored() [3]string { return [3]string{string(k.action), k.upstream, k.target} }

func laneKeyOf(s [3]string) laneKey { return laneKey{policy.Action(s[0]), s[1], s[2]} }

func storedAmounts(a limits.Amounts) [3]int64 { return [3]int64{a.Nano, a.Tokens, a.Calls} }

func amountsOf(s [3]int64) limits.Amounts {
	return limits.Amounts{Nano: s[0], Tokens: s[1], Calls: s[2]}
}

// checkpoint is what is stored of b, which the entries up to end came to.
func (b *book) checkpoint(end journal.Position) *checkpoint {
	c := &checkpoint{Version: checkpointVersion, End: end, Last: b.last}
	for ak, a := range b.accounts {
		sa := storedAccount{Key: ak.stored()}
		for lk, ln := range a.lanes {
			if len(ln.history.Rows) == 0 {
				continue
			}
			sl := storedLane{Key: lk.stored()}
			for _, r := range ln.history.Rows {
				sl.Rows = append(sl.Rows, [5]int64{r.At, r.Span, r.Nano, r.Tokens, r.Calls})
			}
			sa.Lanes = append(sa.Lanes, sl)
		}
		if len(sa.Lanes) > 0 {
			c.Accounts = append(c.Accounts, sa)
		}
	}
	for _, h := range b.open {
		sh := storedHold{
			ID: h.id, At: h.at, Account: h.lane.account.key.stored(), Lane: h.lane.key.stored(),
			Expected: storedAmounts(h.expected), Worst: storedAmounts(h.worst), Hard: h.hard, Slot: h.slot,
			Who: whoOf(h.who, h.user), Parent: h.parent, Trace: h.trace, OnBehalf: h.onBehalf,
		}
		for _, ln := range h.rules {
			sh.Rules = append(sh.Rules, ln.account.key.stored())
		}
		c.Open = append(c.Open, sh)
	}
	return c
}

// book is what was stored.
func (c *checkpoint) book(loc *time.Location) *book {
	b := newBook(loc)
	b.last = c.Last
	for _, sa := range c.Accounts {
		a := b.account(accountKeyOf(sa.Key))
		for _, sl := range sa.Lanes {
			rows := make([]limits.Row, len(sl.Rows))
			for i, r := range sl.Rows {
				rows[i] = limits.Row{At: r[0], Span: r[1], Amounts: amountsOf([3]int64(r[2:]))}
			}
			a.lane(laneKeyOf(sl.Key)).history.Restore(rows)
		}
	}
	for _, sh := range c.Open {
		h := &hold{
			id: sh.ID, at: sh.At, lane: b.account(accountKeyOf(sh.Account)).lane(laneKeyOf(sh.Lane)),
			expected: amountsOf(sh.Expected), worst: amountsOf(sh.Worst), hard: sh.Hard, slot: sh.Slot,
			who: principalOf(&sh.Who), user: sh.Who.User, parent: sh.Parent, trace: sh.Trace, onBehalf: sh.OnBehalf,
		}
		for _, k := range sh.Rules {
			h.rules = append(h.rules, b.account(accountKeyOf(k)).lane(laneKey{}))
		}
		b.reserve(h)
	}
	return b
}

// sameAs checks that b, made from the entries, is what was stored.
func (c *checkpoint) sameAs(b *book) error {
	if d := c.book(time.UTC).differs(b); d != "" {
		return errors.New("the stored balances differ: " + d)
	}
	return nil
}

func (c *checkpoint) encode() ([]byte, error) {
	body, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	head := fmt.Sprintf("%08x\n", crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
	return append([]byte(head), body...), nil
}

// decodeCheckpoint reads what encode wrote.
func decodeCheckpoint(b []byte) (*checkpoint, error) {
	head, body, _ := bytes.Cut(b, []byte("\n"))
	if want := fmt.Sprintf("%08x", crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli))); string(head) != want {
		return nil, errors.New("the stored balances do not match their checksum")
	}
	var c checkpoint
	if err := json.Unmarshal(body, &c); err != nil {
		return nil, fmt.Errorf("the stored balances: %w", err)
	}
	if c.Version != checkpointVersion {
		return nil, fmt.Errorf("the stored balances are of version %d, not %d", c.Version, checkpointVersion)
	}
	return &c, nil
}

func (c *checkpoint) save(dir durable.Dir) error {
	b, err := c.encode()
	if err != nil {
		return err
	}
	return dir.Replace(checkpointName, b)
}

// loadCheckpoint reads what was stored; fs.ErrNotExist when nothing was.
func loadCheckpoint(dir durable.Dir) (*checkpoint, error) {
	b, err := dir.ReadFile(checkpointName)
	if err != nil {
		return nil, err
	}
	c, err := decodeCheckpoint(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: remove it, and the balances are made from the entries again", checkpointName, err)
	}
	return c, nil
}

// restored returns the stored book and its place, or when there is none that can be used that of the journal's beginning.
func restored(dir durable.Dir, loc *time.Location) (*book, journal.Position, error) {
	begins, err := journal.ReadBeginning(dir)
	if err != nil {
		return nil, journal.Position{}, err
	}
	if c, err := loadCheckpoint(dir); err == nil && !c.End.Before(begins.Position) {
		return c.book(loc), c.End, nil
	}
	b, err := bookAt(begins, loc)
	return b, begins.Position, err
}

// bookAt is what the entries before the journal's beginning come to.
func bookAt(begins journal.Beginning, loc *time.Location) (*book, error) {
	if begins.Position.Segment == 0 {
		return newBook(loc), nil
	}
	c, err := decodeCheckpoint(begins.State)
	if err != nil {
		return nil, fmt.Errorf("what the removed segments came to: %w", err)
	}
	if c.End != begins.Position {
		return nil, fmt.Errorf("what the removed segments came to is that of another place, in segment %d", c.End.Segment)
	}
	return c.book(loc), nil
}

// keepCheckpoints stores a checkpoint whenever a segment is full, until the ledger closes. It works from what is on disk
// alone, the last checkpoint and the entries after it, so it takes nothing from the calls but processor time. Its
// failures cost the next start time, nothing else; a disk that fails is told by every call.
func (l *Ledger) keepCheckpoints() {
	defer close(l.kept)
	end, synced := l.journal.Durable()
	done := end.Segment
	for {
		select {
		case <-l.closing:
			return
		case <-synced:
		}
		end, synced = l.journal.Durable()
		if end.Segment == done {
			continue
		}
		done = end.Segment
		_ = l.storeCheckpoint()
	}
}

// storeCheckpoint brings the stored checkpoint up to what is on disk.
func (l *Ledger) storeCheckpoint() error {
	l.walking.Lock()
	defer l.walking.Unlock()
	b, from, err := restored(l.dir, l.cfg.Location)
	if err != nil {
		return err
	}
	r := l.Reader(from)
	defer r.Close()
	for {
		e, err := r.Next()
		if err == io.EOF {
			return b.checkpoint(r.Position()).save(l.dir)
		}
		if err == nil {
			err = b.apply(&e)
		}
		if err != nil {
			return err
		}
		select {
		case <-l.closing: // Close stores a better one
			return nil
		default:
		}
	}
}
