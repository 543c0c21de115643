package receivers

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/conformance/launch"
	"github.com/tollgate/tollgate/conformance/peers"
	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/internal/ledgertest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/sink"
	"github.com/tollgate/tollgate/ledger/sink/otlp"
	"github.com/tollgate/tollgate/ledger/sink/shape"
	"github.com/tollgate/tollgate/ledger/sink/syslog"
	"github.com/tollgate/tollgate/policy"
)

const root = "../.."

// patience bounds the wait for a receiver to have everything.
const patience = time.Minute

func withPeers(t *testing.T) {
	t.Helper()
	if os.Getenv("CONFORMANCE") != "1" {
		t.Skip("installs and builds its peers: run make conformance")
	}
}

// feeding is a ledger with one sink.
type feeding struct {
	t      *testing.T
	ledger *ledger.Ledger
	sinks  *sink.Set
}

func feed(t *testing.T, opener sink.Opener) *feeding {
	t.Helper()
	f := &feeding{t: t, ledger: ledgertest.Open(t, ledger.Config{})}
	cursors, err := durable.Disk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f.sinks, err = sink.NewSet(sink.Config{Dir: cursors, Ledger: f.ledger, Log: slog.New(slog.DiscardHandler), Backoff: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.sinks.Close(context.Background()) })
	f.sinks.Apply([]sink.Spec{{Name: "real", Opener: opener, Batch: sink.Batch{Entries: 100, Bytes: 1 << 20, Wait: time.Millisecond}}})
	return f
}

// write appends n refusals, with what a receiver might trip over in them.
func (f *feeding) write(n int) {
	f.t.Helper()
	for i := range n {
		c := policy.Call{Principal: &policy.Principal{Key: `ci "bot"]\ x`, KeyID: "key_1"}, Action: policy.ToolCall, Target: fmt.Sprintf("tool-%d\n<14>1 - - - - - - forged |=\x00ü", i)}
		if err := f.ledger.Deny(&c, &policy.Decision{}, "no\r\nsuch\ttool"); err != nil {
			f.t.Fatal(err)
		}
	}
	if err := f.ledger.Sync(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
}

func (f *feeding) catchUp() {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	if err := f.sinks.CatchUp(ctx); err != nil {
		f.t.Fatalf("%v; %+v", err, f.sinks.List())
	}
}

// arrived waits until the lines of a file, each an entry, hold every entry of the ledger and nothing else.
func (f *feeding) arrived(path string, entryOf func(line string) string) {
	f.t.Helper()
	want := map[string]bool{}
	for _, e := range ledgertest.Entries(f.t, f.ledger) {
		want[e.ID.String()] = true
	}
	got := map[string]bool{}
	for until := time.Now().Add(patience); ; {
		text, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			f.t.Fatal(err)
		}
		text = text[:bytes.LastIndexByte(text, '\n')+1]
		for line := range strings.Lines(string(text)) {
			var e ledger.Entry
			if err := json.Unmarshal([]byte(entryOf(strings.TrimSuffix(line, "\n"))), &e); err != nil {
				f.t.Fatalf("%q: %v", line, err)
			}
			if !want[e.ID.String()] {
				f.t.Fatalf("%s is no entry of the ledger", e.ID)
			}
			got[e.ID.String()] = true
		}
		if len(got) == len(want) {
			return
		}
		if time.Now().After(until) {
			f.t.Fatalf("%d of %d entries arrived; %+v", len(got), len(want), f.sinks.List())
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-f.t.Context().Done():
		}
	}
}

// rsyslog over TCP and TLS takes every message whole, and one that is stopped and started again misses none.
func TestRsyslog(t *testing.T) {
	withPeers(t)
	program, err := peers.Debian(t.Context(), os.Stdout, "/usr/sbin/rsyslogd", "rsyslog", "rsyslog-openssl")
	if err != nil {
		t.Fatal(err)
	}
	for _, scheme := range []string{"tcp", "tls"} {
		t.Run(scheme, func(t *testing.T) {
			dir := t.TempDir()
			address, err := launch.FreeAddr()
			if err != nil {
				t.Fatal(err)
			}
			ca := rsyslogConfig(t, dir, address, scheme == "tls")
			run := func() *launch.Process {
				p, err := launch.Run(dir, nil, program, "-n", "-f", filepath.Join(dir, "rsyslog.conf"), "-i", filepath.Join(dir, "pid"))
				if err == nil {
					err = p.Listens(t.Context(), address)
				}
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = p.Stop() })
				return p
			}
			p := run()
			f := feed(t, syslog.Config{Shape: shape.Entry, Address: scheme + "://" + address, Facility: 13, App: "tollgate", Host: "gateway-1", CA: ca})
			f.write(300)
			f.catchUp()
			if err := p.Stop(); err != nil {
				t.Fatal(err)
			}
			f.write(200)
			run()
			f.catchUp()
			f.write(1) // what an ended connection swallowed shows when the next is sent
			f.catchUp()
			f.arrived(filepath.Join(dir, "out"), func(line string) string {
				head, entry, ok := strings.Cut(line, "] ")
				if !ok || !strings.HasPrefix(head, `audit warning gateway-1 tollgate denied [tollgate@32473 id="`) || !strings.Contains(line, `key="ci \"bot\"\]\\ x"`) {
					t.Fatalf("%q", line)
				}
				for !strings.HasPrefix(entry, "{") { // the key's name has a bracket
					if _, entry, ok = strings.Cut(entry, "] "); !ok {
						t.Fatalf("%q", line)
					}
				}
				return entry
			})
		})
	}
}

// rsyslogConfig writes a config that appends what it receives to DIR/out, and returns who vouches for it.
func rsyslogConfig(t *testing.T, dir, address string, secure bool) (ca string) {
	t.Helper()
	write := func(name string, text []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, port, _ := strings.Cut(address, ":")
	global, input := "", ""
	if secure {
		server := httptest.NewTLSServer(nil)
		server.Close()
		pair := server.TLS.Certificates[0]
		key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}))
		write("cert.pem", []byte(ca))
		write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
		global = fmt.Sprintf(` defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="%[1]s/cert.pem" defaultNetstreamDriverCertFile="%[1]s/cert.pem" defaultNetstreamDriverKeyFile="%[1]s/key.pem"`, dir)
		input = ` StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="anon"`
	}
	write("rsyslog.conf", fmt.Appendf(nil, `global(workDirectory="%[1]s" maxMessageSize="64k"%[2]s)
module(load="imtcp"%[3]s)
template(name="line" type="string" string="%%syslogfacility-text%% %%syslogseverity-text%% %%hostname%% %%app-name%% %%msgid%% %%structured-data%% %%msg%%\n")
input(type="imtcp" port="%[4]s" address="127.0.0.1")
action(type="omfile" file="%[1]s/out" template="line")
`, dir, global, input, port))
	return ca
}

// The Collector's own OTLP receiver takes every record, and one that is killed and started again misses none: its consumer
// writes before it answers.
func TestOpenTelemetryCollector(t *testing.T) {
	withPeers(t)
	program, err := peers.BuildModule(t.Context(), root, os.Stdout, "conformance/receivers/otlpreceiver")
	if err != nil {
		t.Fatal(err)
	}
	address, err := launch.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	run := func() *launch.Process {
		p, err := launch.Run("", nil, program, address, out)
		if err == nil {
			err = p.Listens(t.Context(), address)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Kill)
		return p
	}
	p := run()
	f := feed(t, otlp.Config{Shape: shape.Entry, URL: "http://" + address})
	f.write(300)
	f.catchUp()
	p.Kill()
	f.write(200)
	run()
	f.catchUp()
	f.arrived(out, func(line string) string { return line })
}
