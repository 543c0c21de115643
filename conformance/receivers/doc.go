// Package receivers tests sinks against the real receivers that can be had: rsyslog, which it installs by apt, and the OTLP
// receiver of the OpenTelemetry Collector, which it builds as a module of its own. It is skipped unless CONFORMANCE=1 is set;
// `make conformance` does. What is tested against fakes only, and why: Splunk's collector and S3 have no program to install
// here, Kafka is kfake of franz-go.
package receivers
