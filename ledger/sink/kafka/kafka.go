package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/tollgate/tollgate/internal/dial"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger/sink"
	"github.com/tollgate/tollgate/ledger/sink/post"
	"github.com/tollgate/tollgate/ledger/sink/shape"
)

const (
	// deliveryTimeout bounds how long the client repeats by itself: less than a sink's attempt may take.
	deliveryTimeout = 45 * time.Second
	// recordBytesMax is Kafka's own default bound of a batch of records.
	recordBytesMax = 1_000_012
	// closeTimeout bounds the wait for brokers at the end.
	closeTimeout = 2 * time.Second
)

// Mechanism is how the client says who it is.
type Mechanism string

// The mechanisms.
const (
	None        Mechanism = ""
	Plain       Mechanism = "plain"
	ScramSHA256 Mechanism = "scram-sha-256"
	ScramSHA512 Mechanism = "scram-sha-512"
)

// Config is the cluster and the topic.
type Config struct {
	shape.Shape
	Brokers  []string // host:port, some of them
	Topic    string
	TLS      bool
	CA       string // PEM; empty: the system's authorities
	SASL     Mechanism
	User     string
	Password secret.String
}

// Open makes the client; it connects when something is sent.
func (c Config) Open(context.Context) (sink.Receiver, error) {
	roots, err := post.Roots(c.CA)
	if err != nil {
		return nil, err
	}
	dialer := dial.Sinks.Stream(roots)
	connect := dialer.DialContext
	if c.TLS {
		connect = dialer.DialTLSContext
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...), kgo.DefaultProduceTopic(c.Topic), kgo.ClientID("tollgate"), kgo.Dialer(connect),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.RecordDeliveryTimeout(deliveryTimeout), kgo.ProducerBatchMaxBytes(recordBytesMax),
		kgo.RetryTimeout(deliveryTimeout), kgo.ProducerLinger(0),
	}
	switch c.SASL {
	case Plain:
		options = append(options, kgo.SASL(plain.Auth{User: c.User, Pass: c.Password.Reveal()}.AsMechanism()))
	case ScramSHA256:
		options = append(options, kgo.SASL(scram.Auth{User: c.User, Pass: c.Password.Reveal()}.AsSha256Mechanism()))
	case ScramSHA512:
		options = append(options, kgo.SASL(scram.Auth{User: c.User, Pass: c.Password.Reveal()}.AsSha512Mechanism()))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, fmt.Errorf("make a client for kafka: %w", err)
	}
	return &receiver{client}, nil
}

type receiver struct{ client *kgo.Client }

// Send produces a batch and waits until all replicas in sync have it.
func (r *receiver) Send(ctx context.Context, batch []sink.Line) error {
	records := make([]*kgo.Record, len(batch))
	for i := range batch {
		e := &batch[i].Entry
		records[i] = &kgo.Record{
			Value: batch[i].Text, Timestamp: e.Time,
			Headers: []kgo.RecordHeader{{Key: "id", Value: []byte(e.ID.String())}, {Key: "kind", Value: []byte(e.Kind.String())}},
		}
		if e.Who.KeyID != "" {
			records[i].Key = []byte(e.Who.KeyID)
		}
	}
	var first error
	for _, result := range r.client.ProduceSync(ctx, records...) {
		if result.Err == nil {
			continue
		}
		if refused(result.Err) {
			return &sink.RefusedError{Err: fmt.Errorf("produce to kafka: %w", result.Err)}
		}
		if first == nil {
			first = fmt.Errorf("produce to kafka: %w", result.Err)
		}
	}
	return first
}

// refused reports whether a record will never be taken as it is.
func refused(err error) bool {
	return errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge) || errors.Is(err, kerr.InvalidRecord)
}

// Close gives up what is buffered, which was reported as not sent, and ends the connections.
func (r *receiver) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := r.client.AbortBufferedRecords(ctx)
	r.client.Close()
	return err
}
