package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/sink"
	"github.com/tollgate/tollgate/ledger/sink/shape"
)

// The cluster of these tests is a fake, kfake of franz-go: it speaks the protocol and keeps records in memory.
func cluster(t *testing.T, options ...kfake.Opt) (*kfake.Cluster, Config) {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.SeedTopics(2, "audit")}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, Config{Shape: shape.Entry, Brokers: c.ListenAddrs(), Topic: "audit"}
}

func batch(n int) []sink.Line {
	lines := make([]sink.Line, n)
	for i := range lines {
		lines[i].Entry = ledger.Entry{ID: ledger.ID{15: byte(i)}, Time: time.Unix(1_800_000_000, 0), Kind: ledger.Denied, Who: ledger.Who{KeyID: "key_1"}}
		lines[i].Text = []byte(`{"id":"` + lines[i].Entry.ID.String() + `"}`)
	}
	return lines
}

func send(t *testing.T, cfg Config, lines []sink.Line) error {
	t.Helper()
	r, err := cfg.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return r.Send(ctx, lines)
}

// consumed reads n records.
func consumed(t *testing.T, cfg Config, n int) []*kgo.Record {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(cfg.Brokers...), kgo.ConsumeTopics(cfg.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var all []*kgo.Record
	for len(all) < n {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%d of %d records: %v", len(all), n, err)
		}
		all = append(all, fetches.Records()...)
	}
	return all
}

func TestRecords(t *testing.T) {
	c, cfg := cluster(t)
	var acks atomic.Int32
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		acks.Store(int32(req.(*kmsg.ProduceRequest).Acks))
		return nil, nil, false
	})
	lines := batch(50)
	if err := send(t, cfg, lines); err != nil {
		t.Fatal(err)
	}
	if acks.Load() != -1 {
		t.Errorf("acks %d: not all replicas were asked for", acks.Load())
	}
	for i, rec := range consumed(t, cfg, 50) {
		e := &lines[i].Entry // one key, so one partition and one order
		if string(rec.Value) != string(lines[i].Text) || string(rec.Key) != "key_1" || !rec.Timestamp.Equal(e.Time) {
			t.Fatalf("record %d: %s %s %v", i, rec.Key, rec.Value, rec.Timestamp)
		}
		if len(rec.Headers) != 2 || string(rec.Headers[0].Value) != e.ID.String() || string(rec.Headers[1].Value) != "denied" {
			t.Errorf("headers %v", rec.Headers)
		}
	}
}

// A broker that answers nothing has the batch produced again by the client itself, once stored.
func TestBrokerThatHangsUp(t *testing.T) {
	c, cfg := cluster(t)
	var hung atomic.Int32
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if hung.Add(1) <= 2 {
			return nil, errors.New("hang up"), true
		}
		return nil, nil, false
	})
	if err := send(t, cfg, batch(10)); err != nil {
		t.Fatal(err)
	}
	if got := consumed(t, cfg, 10); len(got) != 10 || hung.Load() < 3 {
		t.Errorf("%d records after %d requests", len(got), hung.Load())
	}
}

// A record that is too large is refused for good; a topic that is not there is not the record's fault.
func TestRefusals(t *testing.T) {
	_, cfg := cluster(t)
	large := batch(1)
	large[0].Text = []byte(strings.Repeat("x", 2*recordBytesMax))
	if _, ok := errors.AsType[*sink.RefusedError](send(t, cfg, large)); !ok {
		t.Error("a record of two megabytes was not refused")
	}
	for err, want := range map[error]bool{kerr.MessageTooLarge: true, kerr.InvalidRecord: true, kerr.UnknownTopicOrPartition: false, kerr.NotEnoughReplicas: false, context.DeadlineExceeded: false} {
		if refused(err) != want {
			t.Errorf("%v", err)
		}
	}
	cfg.Topic = "missing"
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	r, err := cfg.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	err = r.Send(ctx, batch(1))
	if _, refused := errors.AsType[*sink.RefusedError](err); err == nil || refused {
		t.Errorf("%v", err)
	}
}

// Who logs in with the right password over TLS gets through, and nobody else; the error names no password.
func TestLogin(t *testing.T) {
	for _, m := range []Mechanism{Plain, ScramSHA256, ScramSHA512} {
		_, cfg := cluster(t, kfake.EnableSASL(), kfake.Superuser(strings.ToUpper(string(m)), "tollgate", "canary-password"))
		cfg.SASL, cfg.User, cfg.Password = m, "tollgate", secret.New("canary-password")
		if err := send(t, cfg, batch(1)); err != nil {
			t.Errorf("%s: %v", m, err)
		}
		cfg.Password = secret.New("another-canary")
		r, err := cfg.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		if err := r.Send(ctx, batch(1)); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s with a wrong password: %v", m, err)
		}
		cancel()
		_ = r.Close()
	}
}

func TestTLS(t *testing.T) {
	cert, ca := certificate(t)
	_, cfg := cluster(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{cert}}))
	cfg.TLS, cfg.CA = true, ca
	if err := send(t, cfg, batch(3)); err != nil {
		t.Error(err)
	}
}
