package syslog

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/sinktest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/sink"
)

func line(e ledger.Entry) sink.Line {
	e.ID, e.Time = ledger.ID{15: 7}, time.Date(2026, 11, 24, 7, 30, 0, 123456789, time.UTC)
	return sink.Line{Entry: e, Text: []byte(`{"id":"` + e.ID.String() + `"}`)}
}

// Nothing that an agent chose ends a message, a field or a parameter before its time.
func TestFrame(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg  Config
		e    ledger.Entry
		want []string
	}{
		"denied":     {Config{Facility: 13, App: "tollgate", Host: "gw"}, ledger.Entry{Kind: ledger.Denied}, []string{"<108>1 2026-11-24T07:30:00.123456Z gw tollgate ", " denied [tollgate@32473 id="}},
		"posted":     {Config{Facility: 0, App: "tollgate", Host: "gw"}, ledger.Entry{Kind: ledger.Posted, Status: ledger.OK}, []string{"<6>1 ", `outcome="ok"`}},
		"admin":      {Config{Facility: 23, App: "tollgate", Host: "gw"}, ledger.Entry{Kind: ledger.Admin}, []string{"<189>1 "}},
		"no host":    {Config{App: "tollgate"}, ledger.Entry{}, []string{"Z - tollgate "}},
		"spaces":     {Config{App: "a b\n] c\u00e9", Host: "h h"}, ledger.Entry{}, []string{"Z hh ab]c "}},
		"long names": {Config{App: strings.Repeat("a", 300), Host: strings.Repeat("h", 300)}, ledger.Entry{}, []string{strings.Repeat("h", 255) + " " + strings.Repeat("a", 48) + " "}},
		"quotes":     {Config{App: "a"}, ledger.Entry{Who: ledger.Who{Key: `"]\` + "\n\x00\u2028\xffé"}}, []string{`key="\"\]\\   ` + "\uFFFDé\""}},
	} {
		l := line(tt.e)
		got := string(tt.cfg.frame(nil, &l))
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q, want %q in it", name, got, want)
			}
		}
		if strings.ContainsAny(got, "\n\r\x00") {
			t.Errorf("%s: control characters in %q", name, got)
		}
	}
}

// Over TLS a receiver is trusted that the given authority vouches for, and no other; errors name no address.
func TestTLS(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	server.Close()
	log, address := sinktest.Syslog(t, &tls.Config{Certificates: server.TLS.Certificates})
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	cfg := Config{Address: "tls://" + address, App: "tollgate", Host: "gw", CA: ca}
	r, err := cfg.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Send(t.Context(), []sink.Line{line(ledger.Entry{})}); err != nil {
		t.Fatal(err)
	}
	log.Await(t, 1)
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	cfg.CA = ""
	if r, err = cfg.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Send(t.Context(), []sink.Line{line(ledger.Entry{})}); err == nil || strings.Contains(err.Error(), address) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v", err)
	}
	if p := log.Problems(); len(log.IDs()) != 1 {
		t.Errorf("%d messages, %v", len(log.IDs()), p)
	}
}

// A receiver that reads nothing does not hold up a sink that shall stop.
func TestStopInMidWrite(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	r, err := Config{Address: "tcp://" + ln.Addr().String(), App: "tollgate", Host: "gw"}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		l := line(ledger.Entry{})
		l.Text = make([]byte, 64<<20) // more than the kernel keeps
		ended <- r.Send(ctx, []sink.Line{l})
	}()
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var first [1]byte
	if _, err := conn.Read(first[:]); err != nil { // it writes
		t.Fatal(err)
	}
	stop()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "stopped") {
		t.Errorf("%v", err)
	}
}
