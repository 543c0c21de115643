package peer

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Path is where a replica takes what others forward.
const Path = "/replica"

const (
	// scheme is the authentication scheme of messages.
	scheme = "Tollgate-Replica "
	// headBytesMax bounds what a message says of its request: twice what a listener takes of headers.
	headBytesMax = 64 << 10
	// bodyBytesMax bounds the body of a request: what fronts read of one.
	bodyBytesMax = 4 << 20
	// goodFor is how old a message may be, or how far ahead of this replica's clock: replicas go by the clock of their
	// database, so what is left is the way and a pause of the process.
	goodFor = 30 * time.Second
)

// ID names a replica. The zero ID names none.
type ID [16]byte

// String is the ID as a UUID.
func (id ID) String() string { return uuid.UUID(id).String() }

// head is what a message says of its request.
type head struct {
	Method string      `json:"method"`
	URI    string      `json:"uri"` // path and query
	Host   string      `json:"host"`
	Source string      `json:"source"` // remote address of the caller
	Local  bool        `json:"local"`  // the caller's connection is one that only the forwarding machine can make
	Header http.Header `json:"header"`
}

// message is h and body as they are posted: the head in one line, then the body.
func message(h *head, body []byte) ([]byte, error) {
	line, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	if len(line) > headBytesMax {
		return nil, errors.New("the request's headers are too large to be forwarded")
	}
	b := make([]byte, 0, len(line)+1+len(body))
	return append(append(append(b, line...), '\n'), body...), nil
}

// ticket is what a message is taken for. It comes before the message, in the Authorization header, so that nothing is read
// of what is not a replica's.
type ticket struct {
	to    ID
	at    time.Time // to the millisecond
	once  [16]byte
	bytes int // of the message
	sum   [sha256.Size]byte
}

// ticketBytes is the length of a ticket in bytes, without its MAC.
const ticketBytes = 16 + 8 + 16 + 8 + sha256.Size

func newTicket(to ID, at time.Time, message []byte) *ticket {
	t := &ticket{to: to, at: at, bytes: len(message), sum: sha256.Sum256(message)}
	_, _ = rand.Read(t.once[:]) // never fails
	return t
}

// sign returns the Authorization header of the message.
func (t *ticket) sign(key []byte) string {
	b := make([]byte, 0, ticketBytes+sha256.Size)
	b = append(b, t.to[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(t.at.UnixMilli()))
	b = append(b, t.once[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(t.bytes))
	b = append(b, t.sum[:]...)
	mac := hmac.New(sha256.New, key)
	mac.Write(b)
	return scheme + base64.RawURLEncoding.EncodeToString(mac.Sum(b))
}

// readTicket reads an Authorization header; false: it is not one that a replica has signed.
func readTicket(key []byte, authorization string) (*ticket, bool) {
	text, ok := strings.CutPrefix(authorization, scheme)
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if !ok || err != nil || len(b) != ticketBytes+sha256.Size {
		return nil, false
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(b[:ticketBytes])
	if !hmac.Equal(b[ticketBytes:], mac.Sum(nil)) {
		return nil, false
	}
	t := &ticket{to: ID(b[:16]), at: time.UnixMilli(int64(binary.BigEndian.Uint64(b[16:]))), once: [16]byte(b[24:40])}
	t.bytes, t.sum = int(binary.BigEndian.Uint64(b[40:])), [sha256.Size]byte(b[48:ticketBytes])
	return t, true
}

// read takes a message apart. It is authentic; that it can be read is checked all the same.
func read(message []byte) (*head, []byte, error) {
	line, body, ok := bytes.Cut(message, []byte{'\n'})
	if !ok || len(line) > headBytesMax {
		return nil, nil, errors.New("a message without a head")
	}
	var h head
	if err := json.Unmarshal(line, &h); err != nil {
		return nil, nil, errors.New("a head that cannot be read")
	}
	if u, err := url.ParseRequestURI(h.URI); err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(h.URI, "/") || strings.HasPrefix(u.Path, Path) {
		return nil, nil, errors.New("a head with an address that is none of this gateway")
	}
	if h.Header == nil {
		h.Header = http.Header{}
	}
	return &h, body, nil
}
