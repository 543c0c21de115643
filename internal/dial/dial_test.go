package dial

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestAddressesThatMayBeReached(t *testing.T) {
	for _, tt := range []struct {
		address         string
		public, private bool // allowed at the two levels of trust
	}{
		{"93.184.216.34:443", true, true},
		{"[2606:4700::1111]:443", true, true},
		{"127.0.0.1:80", false, true},
		{"[::1]:80", false, true},
		{"10.1.2.3:80", false, true},
		{"192.168.0.1:80", false, true},
		{"172.16.0.1:80", false, true},
		{"100.64.0.1:80", false, true},
		{"[fd12::1]:80", false, true},
		{"[::ffff:10.0.0.1]:80", false, true},
		{"169.254.169.254:80", false, false},
		{"[::ffff:169.254.169.254]:80", false, false},
		{"[64:ff9b::a9fe:a9fe]:80", false, false},
		{"[2002:a9fe:a9fe::1]:80", false, false},
		{"[2002:0a00:0001::1]:80", false, true},
		{"[fe80::1%eth0]:80", false, false},
		{"[fd00:ec2::254]:80", false, false},
		{"100.100.100.200:80", false, false},
		{"0.0.0.0:80", false, false},
		{"[::]:80", false, false},
		{"224.0.0.1:80", false, false},
		{"255.255.255.255:80", false, false},
		{"198.18.0.1:80", false, true},
		{"nonsense", false, false},
	} {
		if got := Check(tt.address, false) == nil; got != tt.public {
			t.Errorf("public dialer to %s: allowed %v, want %v", tt.address, got, tt.public)
		}
		if got := Check(tt.address, true) == nil; got != tt.private {
			t.Errorf("operator's address %s: allowed %v, want %v", tt.address, got, tt.private)
		}
	}
}

// The check sees what the name resolved to, however the address is spelled.
func TestRefusedAddressesAreNotConnectedTo(t *testing.T) {
	var connected atomic.Int32
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			connected.Add(1)
			c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	d := &Dialer{Timeout: time.Second}
	for _, host := range []string{"127.0.0.1", "localhost", "::ffff:127.0.0.1", "0x7f.1", "2130706433"} {
		_, err := d.DialContext(context.Background(), "tcp", net.JoinHostPort(host, port))
		var refused *Error
		if !errors.As(err, &refused) {
			t.Errorf("%s: %v, want an *Error", host, err)
			continue
		}
		if strings.Contains(refused.Error(), "127.") || strings.Contains(refused.Error(), port) {
			t.Errorf("%s: the text names an address: %s", host, refused)
		}
	}
	if n := connected.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
	conn, err := (&Dialer{Timeout: time.Second, Private: true}).DialContext(context.Background(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatalf("the operator's own address: %v", err)
	}
	conn.Close()
}

func TestCertificateOfAnotherHostIsNoConnection(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = nil
	srv.StartTLS()
	defer srv.Close()
	d := &Dialer{Timeout: time.Second, Private: true}
	_, err := d.DialTLSContext(context.Background(), "tcp", srv.Listener.Addr().String())
	var refused *Error
	var cert *tls.CertificateVerificationError
	if !errors.As(err, &refused) || !errors.As(err, &cert) {
		t.Fatalf("got %v", err)
	}
	if got := refused.Error(); got != "the certificate is not valid for the host" {
		t.Errorf("text: %s", got)
	}
}

func TestDialInsteadReachesASocketFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	defer os.Remove(path)
	conn, err := (&Dialer{Timeout: time.Second, Instead: "unix:" + path}).DialContext(context.Background(), "tcp", "demo.invalid:80")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
