package ledger

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tollgate/tollgate/ledger/entry"
	"github.com/tollgate/tollgate/policy"
)

// The words of entries; see package entry.
type (
	// Entry is one line of the ledger.
	Entry = entry.Entry
	// Kind says what an entry states.
	Kind = entry.Kind
	// ID names an entry.
	ID = entry.ID
	// TraceID is a W3C trace id.
	TraceID = entry.TraceID
	// Who is the principal of an entry.
	Who = entry.Who
	// Digest is a keyed HMAC-SHA256 of arguments.
	Digest = entry.Digest
	// Nano is money in nano-USD (10^-9 USD).
	Nano = entry.Nano
	// Quantities are what a call used.
	Quantities = entry.Quantities
	// Status is how a call ended.
	Status = entry.Status
	// Peeked is what places an entry.
	Peeked = entry.Peeked
)

// USD is one dollar.
const USD = entry.USD

// The kinds of entries.
const (
	Denied   = entry.Denied
	Reserved = entry.Reserved
	Posted   = entry.Posted
	Voided   = entry.Voided
	Admin    = entry.Admin
	Link     = entry.Link
	Approval = entry.Approval
)

// The statuses of a resolution.
const (
	OK          = entry.OK
	ToolError   = entry.ToolError
	Failed      = entry.Failed
	Cut         = entry.Cut
	Unsent      = entry.Unsent
	Interrupted = entry.Interrupted
)

// NewID makes an ID for the time now. Two of one millisecond sort in any order; the journal's order is the order.
func NewID(now time.Time) ID { return entry.NewID(now) }

// ParseID reads an ID as its String writes it.
func ParseID(s string) (ID, error) { return entry.ParseID(s) }

// ParseKind reads a Kind as its String writes it.
func ParseKind(s string) (Kind, error) { return entry.ParseKind(s) }

// DecodeEntry reads an entry from a journal payload. Fields it does not know are skipped. It keeps nothing of b.
func DecodeEntry(b []byte) (Entry, error) { return entry.Decode(b) }

// Peek reads the fields at the start of a journal payload. It allocates nothing and costs a hundredth of DecodeEntry.
func Peek(payload []byte) (Peeked, error) { return entry.Peek(payload) }

// whoOf is p as entries have it, where user stands for the user.
func whoOf(p *policy.Principal, user string) Who {
	if p == nil {
		return Who{}
	}
	return Who{
		Customer: clip(p.Customer), Team: clip(p.Team), Key: clip(p.Key), KeyID: clip(p.KeyID), User: user, Client: clip(p.Client),
	}
}

// textBytesMax bounds each text of an entry: some are the caller's choice, such as the address of a resource. What is
// longer is cut, and two that agree so far are one to limits.
const textBytesMax = 1024

// clip is s as entries have it: short, and UTF-8, for it goes on as JSON and as a string of Protocol Buffers, in which
// other bytes would become others.
func clip(s string) string {
	if len(s) > textBytesMax {
		n := textBytesMax
		for n > textBytesMax-utf8.UTFMax && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "?") // no longer than it was
}

// principalOf is w as calls have it.
func principalOf(w *Who) *policy.Principal {
	return &policy.Principal{Customer: w.Customer, Team: w.Team, Key: w.Key, KeyID: w.KeyID, User: w.User, Client: w.Client}
}
