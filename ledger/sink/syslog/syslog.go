package syslog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate/tollgate/internal/dial"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/sink"
	"github.com/tollgate/tollgate/ledger/sink/post"
	"github.com/tollgate/tollgate/ledger/sink/shape"
)

const (
	// writeTimeout bounds the writing of a batch, and the wait for the peer's kernel to confirm it.
	writeTimeout = 30 * time.Second
	// drainGap is how often the kernel is asked what the peer has confirmed.
	drainGap = 2 * time.Millisecond
	// standing is how long a connection must stand after the peer's kernel has a batch before it counts as delivered: one
	// without a receiver behind it, or with one that is on its way out, ends at once.
	standing = 50 * time.Millisecond
	// structured is the name of the structured data: 32473 is the number that RFC 5612 keeps for examples, there being none
	// for this program.
	structured = "tollgate@32473"
	// hostBytesMax, appBytesMax and idBytesMax are RFC 5424's.
	hostBytesMax = 255
	appBytesMax  = 48
	idBytesMax   = 32
)

// The severities of RFC 5424 that are used.
const (
	warning = 4
	notice  = 5
	info    = 6
)

var errStopped = errors.New("the sink was stopped while it waited for the syslog receiver")

// Config is the receiver and how messages are marked.
type Config struct {
	shape.Shape
	Address  string // tcp://host:port or tls://host:port
	Facility int    // 0 to 23
	App      string // at most 48 printable characters
	Host     string // empty: this machine's name
	CA       string // PEM; empty: the system's authorities
}

// Open prepares; nothing is sent.
func (c Config) Open(context.Context) (sink.Receiver, error) {
	to, err := url.Parse(c.Address)
	if err != nil {
		return nil, errors.New("the address of this sink is not tcp://host:port or tls://host:port")
	}
	roots, err := post.Roots(c.CA)
	if err != nil {
		return nil, err
	}
	if c.Host == "" {
		c.Host, _ = os.Hostname() // without one it is "-"
	}
	return &receiver{cfg: c, dialer: dial.Sinks.Stream(roots), address: to.Host, secure: to.Scheme == "tls"}, nil
}

type receiver struct {
	cfg     Config
	dialer  *dial.Dialer
	address string
	secure  bool

	conn  net.Conn      // nil: none
	ended chan struct{} // closed when conn was seen to end
	text  []byte        // of the batch
	last  []byte        // of the batch before, which a connection that ended may have lost
}

// Send writes a batch and waits until the peer's kernel has it.
func (r *receiver) Send(ctx context.Context, batch []sink.Line) error {
	r.text = r.text[:0]
	for i := range batch {
		r.text = r.cfg.frame(r.text, &batch[i])
	}
	if r.conn != nil && r.over() {
		r.drop()
	}
	again := r.conn == nil
	if again {
		if err := r.connect(ctx); err != nil {
			return err
		}
	}
	if again && len(r.last) > 0 {
		if err := r.write(ctx, r.last); err != nil {
			r.drop()
			return err
		}
	}
	if err := r.write(ctx, r.text); err != nil {
		r.drop()
		return err
	}
	r.last, r.text = r.text, r.last
	return nil
}

// connect dials and begins to watch for the end: a receiver sends nothing.
func (r *receiver) connect(ctx context.Context) (err error) {
	connect := r.dialer.DialContext
	if r.secure {
		connect = r.dialer.DialTLSContext
	}
	if r.conn, err = connect(ctx, "tcp", r.address); err != nil {
		r.conn = nil
		return fmt.Errorf("connect to the syslog receiver: %w", err)
	}
	r.ended = make(chan struct{})
	go watch(r.conn, r.ended)
	return nil
}

// watch reads what a receiver should not send until the connection ends.
func watch(conn net.Conn, ended chan<- struct{}) {
	defer close(ended)
	var b [512]byte
	for {
		if _, err := conn.Read(b[:]); err != nil {
			return
		}
	}
}

func (r *receiver) over() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

func (r *receiver) drop() {
	if r.conn != nil {
		_ = r.conn.Close()
		r.conn = nil
	}
}

// write sends text and returns when the peer's kernel has confirmed it and the connection still stands.
func (r *receiver) write(ctx context.Context, text []byte) error {
	until := time.Now().Add(writeTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(until) {
		until = d
	}
	conn := r.conn
	_ = conn.SetWriteDeadline(until) // an error shows in Write
	defer context.AfterFunc(ctx, func() { _ = conn.SetWriteDeadline(time.Now()) })()
	if _, err := conn.Write(text); err != nil {
		if ctx.Err() != nil {
			return errStopped
		}
		return fmt.Errorf("send to the syslog receiver: %w", withoutAddress(err))
	}
	for {
		left, known := unconfirmed(r.conn)
		if r.over() {
			return errors.New("the syslog receiver ended the connection")
		}
		if !known || left == 0 {
			return r.stands(ctx)
		}
		if time.Now().After(until) || ctx.Err() != nil {
			return errors.New("the syslog receiver does not confirm what was sent")
		}
		time.Sleep(drainGap)
	}
}

// stands waits for a moment whether the connection ends.
func (r *receiver) stands(ctx context.Context) error {
	t := time.NewTimer(standing)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-r.ended:
		return errors.New("the syslog receiver ended the connection")
	case <-ctx.Done():
		return errStopped
	}
}

// withoutAddress takes the addresses out of an error of a connection.
func withoutAddress(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// Close ends the connection.
func (r *receiver) Close() error {
	r.drop()
	return nil
}

// frame appends the message of one entry:
//
//	LENGTH <PRI>1 TIME HOST APP PROCID MSGID [SD] MSG
func (c *Config) frame(b []byte, line *sink.Line) []byte {
	e := &line.Entry
	severity := info
	switch {
	case e.Kind == ledger.Denied:
		severity = warning
	case e.Kind == ledger.Admin || e.Kind == ledger.Link || e.Kind == ledger.Approval:
		severity = notice
	case e.Status != "" && e.Status != ledger.OK:
		severity = notice
	}
	m := make([]byte, 0, 256+len(line.Text))
	m = fmt.Appendf(m, "<%d>1 %s %s %s %d %s [%s", c.Facility*8+severity, e.Time.UTC().Format("2006-01-02T15:04:05.000000Z"),
		header(c.Host, hostBytesMax), header(c.App, appBytesMax), os.Getpid(), header(e.Kind.String(), idBytesMax), structured)
	for _, p := range [...][2]string{
		{"id", e.ID.String()}, {"call", e.Call().String()}, {"action", string(e.Action)}, {"outcome", string(e.Status)}, {"key", e.Who.Key}, {"key_id", e.Who.KeyID},
	} {
		if p[1] != "" {
			m = append(append(append(append(m, ' '), p[0]...), `="`...), escape(p[1])...)
			m = append(m, '"')
		}
	}
	m = append(append(m, "] "...), line.Text...)
	return append(append(strconv.AppendInt(b, int64(len(m)), 10), ' '), m...)
}

// header is text as a field of the header: printable ASCII without spaces, "-" for none.
func header(text string, bytesMax int) string {
	text = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return -1
		}
		return r
	}, text)
	if text == "" {
		return "-"
	}
	return text[:min(len(text), bytesMax)]
}

// escape is text as the value of a parameter of structured data: quote, backslash and closing bracket escaped, and no
// control characters, which many receivers take for the end.
func escape(text string) string {
	var out strings.Builder
	for _, r := range strings.ToValidUTF8(text, "\uFFFD") {
		switch {
		case r == '"' || r == '\\' || r == ']':
			out.WriteByte('\\')
			out.WriteRune(r)
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029':
			out.WriteByte(' ')
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}
