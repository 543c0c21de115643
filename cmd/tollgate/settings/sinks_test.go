package settings

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/s3"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/sink"
	"github.com/tollgate/tollgate/ledger/sink/file"
	"github.com/tollgate/tollgate/ledger/sink/kafka"
	"github.com/tollgate/tollgate/ledger/sink/object"
	"github.com/tollgate/tollgate/ledger/sink/otlp"
	"github.com/tollgate/tollgate/ledger/sink/shape"
	"github.com/tollgate/tollgate/ledger/sink/splunk"
	"github.com/tollgate/tollgate/ledger/sink/syslog"
	"github.com/tollgate/tollgate/ledger/sink/webhook"
)

// What each type becomes, with the least that it needs.
func TestSinks(t *testing.T) {
	unread := func(key string) secret.String { return secret.New("not-looked-for:sinks.x." + key) }
	for text, want := range map[string]sink.Opener{
		"{type: file, path: /var/out.jsonl}": file.Config{Shape: shape.Entry, Path: "/var/out.jsonl"},
		"{type: file, path: /var/out.cef, shape: cef, gzip: true, rotate: {megabytes: 1, age: 1h}}": file.Config{
			Shape: shape.CEF, Path: "/var/out.cef", RotateBytes: 1 << 20, RotateAge: time.Hour, Gzip: true,
		},
		"{type: s3, bucket: b, region: r, access_key: env:A, secret_key: env:B, gzip: false}": object.Config{
			Shape: shape.Entry, Plain: true, Bucket: s3.Bucket{
				Endpoint: s3.Endpoint("r"), Name: "b", Region: "r", AccessKey: "not-looked-for:sinks.x.access_key", SecretKey: unread("secret_key"),
			},
		},
		"{type: otlp, url: 'http://c:4318', shape: ocsf, ocsf_version: 1.6.0}":    otlp.Config{Shape: shape.OCSF, URL: "http://c:4318", Headers: map[string]secret.String{}},
		"{type: webhook, url: 'https://h/x', secret: env:S, headers: {A: env:B}}": webhook.Config{Shape: shape.Entry, URL: "https://h/x", Secret: unread("secret"), Headers: map[string]secret.String{"A": unread("headers.A")}},
		"{type: splunk, url: 'https://s:8088', token: env:T}": splunk.Config{
			Shape: shape.Entry, URL: "https://s:8088", Token: unread("token"), Source: "tollgate", SourceType: "tollgate:entry",
		},
		"{type: syslog, address: 'tcp://s:514', facility: 0}": syslog.Config{Shape: shape.Entry, Address: "tcp://s:514", App: "tollgate"},
		"{type: syslog, address: 'tls://s:6514'}":             syslog.Config{Shape: shape.Entry, Address: "tls://s:6514", App: "tollgate", Facility: 13},
		"{type: kafka, brokers: ['k:9092'], topic: t}":        kafka.Config{Shape: shape.Entry, Brokers: []string{"k:9092"}, Topic: "t"},
		"{type: kafka, brokers: ['k:9092'], topic: t, sasl: {mechanism: scram-sha-256, user: u, password: env:P}}": kafka.Config{
			Shape: shape.Entry, Brokers: []string{"k:9092"}, Topic: "t", SASL: kafka.ScramSHA256, User: "u", Password: unread("sasl.password"),
		},
	} {
		s, err := prepared(t, "sinks: {x: "+text+"}\n")
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if len(s.Sinks) != 1 || !reflect.DeepEqual(s.Sinks[0].Opener, want) || s.Sinks[0].Name != "x" || s.Sinks[0].Batch.Entries == 0 {
			t.Errorf("%s: %+v", text, s.Sinks)
		}
	}
	s, err := prepared(t, "sinks: {x: {type: file, path: p, from: 2027-01-31, kinds: [denied, admin], own: true, batch: {entries: 5, wait: 3s}}, y: {type: file, path: q, from: now}}\n")
	if err != nil {
		t.Fatal(err)
	}
	x, y := s.Sinks[0], s.Sinks[1]
	if want := (sink.From{Since: time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)}); x.From != want || !y.From.Now {
		t.Errorf("from %v, %v", x.From, y.From)
	}
	if want := (sink.Filter{Kinds: []ledger.Kind{ledger.Denied, ledger.Admin}, Own: true}); !reflect.DeepEqual(x.Filter, want) {
		t.Errorf("filter %v", x.Filter)
	}
	if x.Batch.Entries != 5 || x.Batch.Wait != 3*time.Second || x.Batch.Bytes != 4<<20 {
		t.Errorf("batch %v", x.Batch)
	}
}

// Every mistake is told with what to write.
func TestSinkFaults(t *testing.T) {
	for text, want := range map[string]string{
		"x: {type: fil}":              `"fil" is not a type of sinks (did you mean "file"?)`,
		"x: {}":                       `"" is not a type of sinks: write one of file, kafka, otlp, s3, splunk, syslog, webhook`,
		"../x: {type: file, path: p}": "is not a name for a sink",
		"X: {type: file, path: p}":    "is not a name for a sink",
		"x: {type: file}":             "needs path: write path: ./archive/entries.jsonl",
		"x: {type: file, path: p, url: 'http://h'}":                  "a sink of type file has no key url: it has path, rotate, gzip",
		"x: {type: file, path: p, shape: json}":                      `no shape "json": write entry, ocsf or cef`,
		"x: {type: file, path: p, ocsf_version: 1.6.0}":              "ocsf_version belongs to shape: ocsf",
		"x: {type: file, path: p, shape: ocsf, ocsf_version: 1.7.0}": "there is 1.6.0 only",
		"x: {type: file, path: p, from: yesterday}":                  "is not where a sink can begin",
		"x: {type: file, path: p, kinds: [deny]}":                    "write some of denied",
		"x: {type: file, path: p, rotate: {megabytes: -1}}":          "cannot be moved aside",
		"x: {type: file, path: p, batch: {entries: 1000000}}":        "a batch has 1 to 100000 entries",
		"x: {type: file, path: p, batch: {wait: 2h}}":                "a batch waits for at most 1h",
		"x: {type: s3}":                       "needs bucket",
		"x: {type: s3, bucket: b, region: r}": "needs access_key: write access_key: env:AWS_ACCESS_KEY_ID",
		"x: {type: s3, bucket: b, region: r, access_key: env:A, secret_key: env:B, endpoint: minio}": "not a url",
		"x: {type: file, path: p}\n  y: {type: file, path: ./p}":                                     "sinks x and y write the same file: give each its own path",
		"x: {type: otlp}":                                               "needs url",
		"x: {type: otlp, url: 'ftp://h'}":                               "not a url",
		"x: {type: otlp, url: 'https://user:password@h'}":               "a url without a user",
		"x: {type: webhook, url: 'https://h'}":                          "needs secret",
		"x: {type: splunk, url: 'https://h'}":                           "needs token",
		"x: {type: syslog}":                                             "needs address",
		"x: {type: syslog, address: 'udp://h:514'}":                     "write tls://siem.example.com:6514",
		"x: {type: syslog, address: 'tls://h'}":                         "write tls://siem.example.com:6514",
		"x: {type: syslog, address: 'tls://h:1', facility: 24}":         "no facility 24",
		"x: {type: syslog, address: 'tls://h:1', ca: missing}":          "cannot be read",
		"x: {type: kafka, topic: t}":                                    "needs brokers",
		"x: {type: kafka, brokers: [k], topic: t}":                      `"k" is not host:port`,
		"x: {type: kafka, brokers: ['k:1']}":                            "needs topic",
		"x: {type: kafka, brokers: ['k:1'], topic: t, sasl: {user: u}}": "sasl has no mechanism",
		"x: {type: kafka, brokers: ['k:1'], topic: t, sasl: {mechanism: md5, user: u, password: env:P}}":   "is not a mechanism",
		"x: {type: kafka, brokers: ['k:1'], topic: t, sasl: {mechanism: plain, user: u, password: env:P}}": "plain sends the password as it is",
	} {
		if _, err := prepared(t, "sinks:\n  "+text+"\n"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
