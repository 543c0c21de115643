package sinktest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

func start(t testing.TB, h http.Handler) string {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// message is RFC 5424's form as far as it is used: PRI, VERSION, TIMESTAMP, HOSTNAME, APP-NAME, PROCID, MSGID, one element
// of structured data, MSG.
var message = regexp.MustCompile(`^<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) (\[[!-~]+@\d+( [!-~]{1,32}="([^"\\\]]|\\["\\\]])*")*\]) (\{.*\})$`)

// Syslog starts a receiver of RFC 5424 messages counted in octets; with cfg over TLS. It sends nothing, as none does.
func Syslog(t testing.TB, cfg *tls.Config) (*Log, string) {
	l := &Log{}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if cfg != nil {
		ln = tls.NewListener(ln, cfg)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer conn.Close()
				err := l.messages(conn)
				if _, cut := errors.AsType[*net.OpError](err); err != nil && !cut && !errors.Is(err, io.EOF) {
					l.problem("%v", err)
				}
			})
		}
	})
	t.Cleanup(func() { ln.Close() })
	return l, ln.Addr().String()
}

// messages reads a connection. A fault ends it: with Lost before the message at hand was taken, with Kept after.
func (l *Log) messages(conn net.Conn) error {
	r := bufio.NewReader(conn)
	for {
		text, err := framed(r)
		if err != nil {
			return err
		}
		m := message.FindStringSubmatch(text)
		if m == nil {
			return fmt.Errorf("not a message of RFC 5424: %q", text)
		}
		if pri, err := strconv.Atoi(m[1]); err != nil || pri > 191 {
			return fmt.Errorf("priority %s", m[1])
		}
		id, err := idOf([]byte(m[len(m)-1]))
		if err != nil {
			return err
		}
		if !strings.Contains(m[7], ` id="`+id+`"`) {
			return fmt.Errorf("structured data %s without the id", m[7])
		}
		if fault, _ := l.take([]string{id}); fault != None {
			return io.EOF
		}
	}
}

// framed reads a length, a space and as many bytes.
func framed(r *bufio.Reader) (string, error) {
	length, err := r.ReadString(' ')
	if err != nil {
		return "", err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(length, " "))
	if err != nil || n < 1 || n > 1<<20 || length[0] == '0' {
		return "", fmt.Errorf("length %q", length)
	}
	text := make([]byte, n)
	_, err = io.ReadFull(r, text)
	return string(text), err
}
