package entry

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tollgate/tollgate/policy"
)

// Kind says what an entry states.
type Kind uint8

// The kinds of entries. The numbers stand in journals: they never change.
const (
	Denied   Kind = 1 // a call that was refused
	Reserved Kind = 2 // a call that may leave; with Resolves set: more held for the call named there
	Posted   Kind = 3 // the end of a call that left
	Voided   Kind = 4 // the end of a call that never left
	Admin    Kind = 5 // an act of the operator
	Link     Kind = 6 // an act on a credential link
	Approval Kind = 7 // a person's answer
)

var kindNames = [...]string{Denied: "denied", Reserved: "reserved", Posted: "posted", Voided: "voided", Admin: "admin", Link: "link", Approval: "approval"}

func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// ParseKind reads a Kind as String writes it.
func ParseKind(s string) (Kind, error) {
	for k, name := range kindNames {
		if name == s && s != "" {
			return Kind(k), nil
		}
	}
	return 0, fmt.Errorf("unknown kind of entry %q", s)
}

// MarshalText writes the kind's name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (k *Kind) UnmarshalText(b []byte) (err error) { *k, err = ParseKind(string(b)); return err }

// Who is the principal of an entry.
type Who struct {
	Customer string `json:"customer,omitempty"`
	Team     string `json:"team,omitempty"`
	Key      string `json:"key,omitempty"`
	KeyID    string `json:"key_id,omitempty"`
	User     string `json:"user,omitempty"` // a pseudonym, see Subjects; in journals of old the name
	Client   string `json:"client,omitempty"`
}

// Entry is one line of the ledger. Its JSON is the public form; amounts of money are integers in nano-USD.
type Entry struct {
	ID       ID            `json:"id"`
	Time     time.Time     `json:"time"`
	Kind     Kind          `json:"kind"`
	Resolves ID            `json:"resolves,omitzero"` // the reservation this ends or extends
	Parent   ID            `json:"parent,omitzero"`
	Trace    TraceID       `json:"trace,omitzero"`
	Who      Who           `json:"principal,omitzero"`
	OnBehalf string        `json:"on_behalf,omitempty"`
	Source   string        `json:"source,omitempty"` // remote address of a caller without a valid key
	Action   policy.Action `json:"action,omitempty"`
	Upstream string        `json:"upstream,omitempty"`
	Target   string        `json:"target,omitempty"`
	Rules    []string      `json:"rules,omitempty"`
	Limits   []string      `json:"limits,omitempty"` // limits laid by rules: "RULE/PER"
	Revision string        `json:"revision,omitempty"`
	Attempt  int           `json:"attempt,omitempty"`
	Counted  bool          `json:"counted,omitempty"` // it counts against limits on calls
	Digest   Digest        `json:"digest,omitzero"`   // keyed HMAC of the arguments, see Ledger.Digest

	Hold        Nano            `json:"hold,omitempty"`  // expected cost
	Worst       Nano            `json:"worst,omitempty"` // held by hard limits; absent when none is on the call's path
	HoldTokens  int64           `json:"hold_tokens,omitempty"`
	WorstTokens int64           `json:"worst_tokens,omitempty"`
	PriceList   string          `json:"price_list,omitempty"`
	Prices      map[string]Nano `json:"prices,omitempty"`

	Cost       Nano          `json:"cost"`
	Quantities Quantities    `json:"quantities,omitzero"`
	Estimated  bool          `json:"estimated,omitempty"`
	Status     Status        `json:"outcome,omitempty"`
	Code       int           `json:"code,omitempty"`
	Latency    time.Duration `json:"-"` // latency_ms
	Detail     string        `json:"detail,omitempty"`
	Result     Digest        `json:"result_digest,omitzero"` // keyed HMAC of the answer, where payloads are captured
	Payload    string        `json:"payload,omitempty"`      // what was kept of the call's payload: see ledger/payload

	Writer string `json:"writer,omitempty"` // of the journal, known when read from it
	Seq    uint64 `json:"seq,omitempty"`
}

// MarshalJSON adds latency_ms.
func (e Entry) MarshalJSON() ([]byte, error) {
	type plain Entry
	return json.Marshal(struct {
		plain
		LatencyMS float64 `json:"latency_ms,omitempty"`
	}{plain(e), float64(e.Latency.Microseconds()) / 1000})
}

// Call is the id of the call that e is about: its own, or that of the reservation it ends or extends.
func (e *Entry) Call() ID {
	if e.Resolves.IsZero() {
		return e.ID
	}
	return e.Resolves
}

// Extends reports whether e holds more for a call reserved before.
func (e *Entry) Extends() bool { return e.Kind == Reserved && !e.Resolves.IsZero() }

// Ends reports whether e ends a call reserved before.
func (e *Entry) Ends() bool { return e.Kind == Posted || e.Kind == Voided }

// Digest is a keyed HMAC-SHA256 of arguments. The zero Digest is none.
type Digest [32]byte

func (d Digest) String() string {
	if d == (Digest{}) {
		return ""
	}
	return hex.EncodeToString(d[:])
}

// MarshalText writes nothing for the zero Digest.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Digest) UnmarshalText(b []byte) error {
	*d = Digest{}
	if len(b) == 0 {
		return nil
	}
	if len(b) != 2*len(d) {
		return fmt.Errorf("a digest has %d hex digits, not %d", 2*len(d), len(b))
	}
	_, err := hex.Decode(d[:], b)
	return err
}
