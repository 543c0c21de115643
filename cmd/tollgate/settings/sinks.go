package settings

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/internal/strictyaml"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/sink"
	"github.com/tollgate/tollgate/ledger/sink/file"
	"github.com/tollgate/tollgate/ledger/sink/kafka"
	"github.com/tollgate/tollgate/ledger/sink/object"
	"github.com/tollgate/tollgate/ledger/sink/otlp"
	"github.com/tollgate/tollgate/ledger/sink/post"
	"github.com/tollgate/tollgate/ledger/sink/shape"
	"github.com/tollgate/tollgate/ledger/sink/splunk"
	"github.com/tollgate/tollgate/ledger/sink/syslog"
	"github.com/tollgate/tollgate/ledger/sink/webhook"
)

// The bounds of a sink's batch, which is in memory.
const (
	batchEntriesMax = 100_000
	batchBytesMax   = 32 << 20
	batchWaitMax    = time.Hour
	megabyte        = 1 << 20
	// caBytesMax bounds a file of certificates.
	caBytesMax = 1 << 20
	// facilityDefault is log audit, facilityMax the last one there is.
	facilityDefault = 13
	facilityMax     = 23
)

// Sink is one copy of the ledger.
type Sink struct {
	// Type is file, s3, otlp, webhook, splunk, syslog or kafka.
	Type string `yaml:"type"`
	// Shape is entry (the default: the public JSON), ocsf or cef.
	Shape string `yaml:"shape"`
	// OCSFVersion pins the version of OCSF that is understood: 1.6.0.
	OCSFVersion string `yaml:"ocsf_version"`
	// From is where a new sink begins: beginning (the default), now, a date or a time.
	From string `yaml:"from"`
	// Kinds are the kinds of entries it gets. Default: all.
	Kinds []string `yaml:"kinds"`
	// Own says whether it gets what the gateway does in its own name: sessions, discovery, probes. Default: no.
	Own bool `yaml:"own"`
	// Batch bounds what is sent at once.
	Batch SinkBatch `yaml:"batch"`
	// CA is a file of PEM certificates, which alone may vouch for the receiver. Default: the system's.
	CA string `yaml:"ca"`

	// Path is the file. It is moved aside by Rotate, and then compressed with Gzip.
	Path   string     `yaml:"path"`
	Rotate SinkRotate `yaml:"rotate"`
	// Gzip is the default for s3 and not for file.
	Gzip *bool `yaml:"gzip"`

	// ObjectStore says where objects go.
	ObjectStore `yaml:",inline"`

	// URL is the receiver of otlp, webhook and splunk.
	URL string `yaml:"url"`
	// Headers are references by header name.
	Headers map[string]string `yaml:"headers"`
	// Secret is a reference to what webhooks are signed with.
	Secret string `yaml:"secret"`
	// Token is a reference to Splunk's.
	Token      string `yaml:"token"`
	Index      string `yaml:"index"`
	Source     string `yaml:"source"`
	SourceType string `yaml:"sourcetype"`
	// Acks has Splunk's indexer acknowledge.
	Acks bool `yaml:"acks"`

	// Address is tcp://host:port or tls://host:port of a syslog receiver.
	Address string `yaml:"address"`
	// Facility is syslog's, 0 to 23. Default 13, log audit.
	Facility *int   `yaml:"facility"`
	App      string `yaml:"app"`
	// Host is what syslog and Splunk take for this machine. Default: its name.
	Host string `yaml:"host"`

	// Brokers are some of a Kafka cluster, as host:port.
	Brokers []string `yaml:"brokers"`
	Topic   string   `yaml:"topic"`
	TLS     bool     `yaml:"tls"`
	SASL    SinkSASL `yaml:"sasl"`
}

// SinkBatch bounds a batch.
type SinkBatch struct {
	// Entries is how many at most.
	Entries int `yaml:"entries"`
	// Wait is how long an entry may wait for others.
	Wait Duration `yaml:"wait"`
}

// SinkRotate says when a file is moved aside.
type SinkRotate struct {
	Megabytes int      `yaml:"megabytes"`
	Age       Duration `yaml:"age"`
}

// SinkSASL is how to log in to Kafka.
type SinkSASL struct {
	// Mechanism is plain, scram-sha-256 or scram-sha-512.
	Mechanism string `yaml:"mechanism"`
	User      string `yaml:"user"`
	// Password is a reference.
	Password string `yaml:"password"`
}

// sinkType is what one type of sinks has.
type sinkType struct {
	keys  []string // of the file, beside those of all types
	batch sink.Batch
	make  func(*sinkReader) sink.Opener
}

// everySink are the keys of all types.
var everySink = []string{"type", "shape", "ocsf_version", "from", "kinds", "own", "batch"}

var sinkTypes = map[string]sinkType{
	"file": {[]string{"path", "rotate", "gzip"}, sink.Batch{Entries: 2000, Bytes: 4 * megabyte, Wait: 200 * time.Millisecond}, (*sinkReader).file},
	"s3": {
		[]string{"bucket", "region", "endpoint", "path_style", "prefix", "access_key", "secret_key", "session_token", "gzip", "ca"},
		sink.Batch{Entries: 20_000, Bytes: 8 * megabyte, Wait: 5 * time.Minute}, (*sinkReader).object,
	},
	"otlp":    {[]string{"url", "headers", "ca"}, sink.Batch{Entries: 1000, Bytes: megabyte, Wait: time.Second}, (*sinkReader).otlp},
	"webhook": {[]string{"url", "headers", "secret", "ca"}, sink.Batch{Entries: 100, Bytes: megabyte, Wait: time.Second}, (*sinkReader).webhook},
	"splunk": {
		[]string{"url", "token", "index", "source", "sourcetype", "host", "acks", "ca"},
		sink.Batch{Entries: 1000, Bytes: 512 << 10, Wait: time.Second}, (*sinkReader).splunk,
	},
	"syslog": {[]string{"address", "facility", "app", "host", "ca"}, sink.Batch{Entries: 2000, Bytes: 2 * megabyte, Wait: 200 * time.Millisecond}, (*sinkReader).syslog},
	"kafka":  {[]string{"brokers", "topic", "tls", "sasl", "ca"}, sink.Batch{Entries: 2000, Bytes: 4 * megabyte, Wait: 100 * time.Millisecond}, (*sinkReader).kafka},
}

// sinkReader reads one sink of the file.
type sinkReader struct {
	*Sink
	out   *Setup
	src   *Source
	path  string // of its keys
	shape shape.Shape
	pem   string
}

// sinkName is what a sink may be called: its cursor's file bears the name.
var sinkName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

func (out *Setup) sinks(s *Source) {
	writers := map[string]string{} // by the path of a file
	for name, one := range Sorted(s.Sinks) {
		r := &sinkReader{Sink: one, out: out, src: s, path: "sinks." + name}
		if !sinkName.MatchString(name) {
			s.fault(r.path, "%q is not a name for a sink: write lower-case letters, digits, - and _, at most 63", name)
			continue
		}
		known, ok := sinkTypes[r.Type]
		if !ok {
			r.fault("type", "%q is not a type of sinks%s: write one of %s", r.Type, strictyaml.DidYouMean(r.Type, Names(sinkTypes)), strings.Join(Names(sinkTypes), ", "))
			continue
		}
		r.onlyKeys(known.keys)
		r.readShape()
		r.readCA()
		spec := sink.Spec{Name: name, Type: r.Type, From: r.from(), Filter: r.filter(), Batch: r.batch(known.batch), Opener: known.make(r)}
		if c, ok := spec.Opener.(file.Config); ok { // each appends where it has left off, over what the other has written
			path := filepath.Clean(c.Path)
			if other := writers[path]; other != "" {
				r.fault("path", "sinks %s and %s write the same file: give each its own path", other, name)
			}
			writers[path] = name
		}
		out.Sinks = append(out.Sinks, spec)
	}
}

func (r *sinkReader) fault(key, format string, args ...any) {
	r.src.fault(r.path+"."+key, format, args...)
}

// needs faults a key that is not there, and reports whether it is.
func (r *sinkReader) needs(key, value, example string) {
	if value == "" {
		r.src.fault(r.path, "a sink of type %s needs %s: write %s: %s", r.Type, key, key, example)
	}
}

// onlyKeys faults keys that are of other types.
func (r *sinkReader) onlyKeys(keys []string) {
	v := reflect.ValueOf(*r.Sink)
	for _, field := range reflect.VisibleFields(v.Type()) {
		key := field.Tag.Get("yaml")
		if !field.Anonymous && !v.FieldByIndex(field.Index).IsZero() && !slices.Contains(everySink, key) && !slices.Contains(keys, key) {
			r.fault(key, "a sink of type %s has no key %s: it has %s", r.Type, key, strings.Join(keys, ", "))
		}
	}
}

func (r *sinkReader) readShape() {
	var err error
	if r.shape, err = shape.Parse(cmp.Or(r.Shape, string(shape.Entry))); err != nil {
		r.fault("shape", "%v", err)
	}
	if r.OCSFVersion != "" && (r.OCSFVersion != shape.OCSFVersion || r.shape != shape.OCSF) {
		r.fault("ocsf_version", "ocsf_version belongs to shape: ocsf, and there is %s only", shape.OCSFVersion)
	}
}

func (r *sinkReader) readCA() {
	if r.CA == "" {
		return
	}
	path := r.src.Resolve(r.CA)
	text, err := os.ReadFile(path)
	if err != nil || len(text) > caBytesMax {
		r.fault("ca", "the certificates in %s cannot be read, or are more than %d KiB", path, caBytesMax>>10)
		return
	}
	if _, err := post.Roots(string(text)); err != nil {
		r.fault("ca", "%s: %v", path, err)
	}
	r.pem = string(text)
	r.out.Files = append(r.out.Files, path)
}

func (r *sinkReader) from() sink.From {
	switch r.From {
	case "", "beginning":
		return sink.From{}
	case "now":
		return sink.From{Now: true}
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, r.From); err == nil {
			return sink.From{Since: t}
		}
	}
	r.fault("from", "%q is not where a sink can begin: write beginning, now, 2027-01-31 or 2027-01-31T12:00:00Z", r.From)
	return sink.From{}
}

func (r *sinkReader) filter() sink.Filter {
	f := sink.Filter{Own: r.Own}
	for _, text := range r.Kinds {
		k, err := ledger.ParseKind(text)
		if err != nil {
			r.fault("kinds", "%v: write some of denied, reserved, posted, voided, admin, link, approval", err)
		}
		f.Kinds = append(f.Kinds, k)
	}
	return f
}

// batch is what the file says of it, and otherwise what is usual for the type.
func (r *sinkReader) batch(usual sink.Batch) sink.Batch {
	b, wait := usual, time.Duration(r.Batch.Wait)
	if r.Batch.Entries != 0 {
		b.Entries = r.Batch.Entries
		b.Bytes = min(batchBytesMax, max(b.Bytes, b.Bytes/usual.Entries*b.Entries))
	}
	if wait != 0 {
		b.Wait = wait
	}
	if b.Entries < 1 || b.Entries > batchEntriesMax {
		r.fault("batch.entries", "a batch has 1 to %d entries", batchEntriesMax)
	}
	if b.Wait > batchWaitMax {
		r.fault("batch.wait", "a batch waits for at most %v", batchWaitMax)
	}
	return b
}

// secret resolves a reference that is needed, or may be missing.
func (r *sinkReader) secret(key, ref string, needed bool) secret.String {
	if ref == "" && !needed {
		return secret.String{}
	}
	return r.out.reference(r.src, r.path+"."+key, ref)
}

func (r *sinkReader) headers() map[string]secret.String {
	all := map[string]secret.String{}
	for name, ref := range Sorted(r.Headers) {
		all[name] = r.secret("headers."+name, ref, true)
	}
	return all
}

// address faults what is not a URL of HTTP.
func (r *sinkReader) address(key, text, example string) {
	if r.needs(key, text, example); text != "" {
		r.src.webAddress(r.path+"."+key, text, example)
	}
}

func (r *sinkReader) file() sink.Opener {
	r.needs("path", r.Path, "./archive/entries.jsonl")
	if r.Rotate.Megabytes < 0 {
		r.fault("rotate.megabytes", "a file cannot be moved aside at %d MB", r.Rotate.Megabytes)
	}
	return file.Config{
		Shape: r.shape, Path: r.src.Resolve(r.Path), RotateBytes: int64(r.Rotate.Megabytes) * megabyte, RotateAge: time.Duration(r.Rotate.Age),
		Gzip: r.Gzip != nil && *r.Gzip,
	}
}

func (r *sinkReader) object() sink.Opener {
	bucket, ok := r.out.objectStore(r.src, r.path, &r.ObjectStore)
	if !ok {
		return nil
	}
	return object.Config{Shape: r.shape, Bucket: bucket, Prefix: r.Prefix, CA: r.pem, Plain: r.Gzip != nil && !*r.Gzip}
}

func (r *sinkReader) otlp() sink.Opener {
	r.address("url", r.URL, "https://collector.example.com:4318")
	return otlp.Config{Shape: r.shape, URL: r.URL, Headers: r.headers(), CA: r.pem}
}

func (r *sinkReader) webhook() sink.Opener {
	r.address("url", r.URL, "https://hooks.example.com/tollgate")
	c := webhook.Config{Shape: r.shape, URL: r.URL, Headers: r.headers(), CA: r.pem}
	r.needs("secret", r.Secret, "env:TOLLGATE_WEBHOOK_SECRET")
	if r.Secret == "" {
		return nil
	}
	c.Secret = r.secret("secret", r.Secret, true)
	if _, err := c.Key(); err != nil && !r.src.WithoutSecrets {
		r.fault("secret", "%v", err)
	}
	return c
}

func (r *sinkReader) splunk() sink.Opener {
	r.address("url", r.URL, "https://splunk.example.com:8088")
	r.needs("token", r.Token, "env:SPLUNK_HEC_TOKEN")
	if r.Token == "" {
		return nil
	}
	return splunk.Config{
		Shape: r.shape, URL: r.URL, Token: r.secret("token", r.Token, true), Index: r.Index, Source: cmp.Or(r.Source, "tollgate"),
		SourceType: cmp.Or(r.SourceType, "tollgate:"+string(r.shape)), Host: r.Host, Acks: r.Acks, CA: r.pem,
	}
}

func (r *sinkReader) syslog() sink.Opener {
	const example = "tls://siem.example.com:6514"
	r.needs("address", r.Address, example)
	u, err := url.Parse(r.Address)
	if r.Address != "" && (err != nil || u.Port() == "" || u.Hostname() == "" || u.Path != "" || u.Scheme != "tcp" && u.Scheme != "tls") {
		r.fault("address", "this is not the address of a syslog receiver: write %s or tcp://host:514", example)
	}
	c := syslog.Config{Shape: r.shape, Address: r.Address, Facility: facilityDefault, App: cmp.Or(r.App, "tollgate"), Host: r.Host, CA: r.pem}
	if r.Facility != nil {
		c.Facility = *r.Facility
	}
	if c.Facility < 0 || c.Facility > facilityMax {
		r.fault("facility", "there is no facility %d: 0 to %d, 13 is log audit", c.Facility, facilityMax)
	}
	return c
}

func (r *sinkReader) kafka() sink.Opener {
	r.needs("topic", r.Topic, "tollgate")
	if len(r.Brokers) == 0 {
		r.src.fault(r.path, "a sink of type kafka needs brokers: write brokers: [kafka-1.example.com:9092]")
	}
	for _, b := range r.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			r.fault("brokers", "%q is not host:port", b)
		}
	}
	c := kafka.Config{Shape: r.shape, Brokers: r.Brokers, Topic: r.Topic, TLS: r.TLS, CA: r.pem, SASL: kafka.Mechanism(r.SASL.Mechanism), User: r.SASL.User}
	switch c.SASL {
	case kafka.None:
		if r.SASL.User != "" || r.SASL.Password != "" {
			r.fault("sasl", "sasl has no mechanism: write mechanism: scram-sha-512")
		}
		return c
	case kafka.Plain, kafka.ScramSHA256, kafka.ScramSHA512:
	default:
		r.fault("sasl.mechanism", "%q is not a mechanism: write plain, scram-sha-256 or scram-sha-512", c.SASL)
	}
	if c.SASL == kafka.Plain && !c.TLS {
		r.fault("sasl.mechanism", "plain sends the password as it is: write tls: true, or mechanism: scram-sha-512")
	}
	c.Password = r.secret("sasl.password", r.SASL.Password, true)
	return c
}

// describeSinks lists the copies of the ledger.
func (out *Setup) describeSinks(r *report) {
	if len(out.Sinks) == 0 {
		return
	}
	r.line("\nsinks:")
	for _, s := range out.Sinks {
		r.line("  %s: %s%s, up to %d entries or %v at once", s.Name, s.Type, kindsOf(s.Filter), s.Batch.Entries, s.Batch.Wait)
	}
}

func kindsOf(f sink.Filter) string {
	text := ""
	if len(f.Kinds) > 0 {
		text = fmt.Sprintf(", of kinds %v", f.Kinds)
	}
	if f.Own {
		text += ", the gateway's own actions too"
	}
	return text
}
