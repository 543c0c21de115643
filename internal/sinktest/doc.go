// Package sinktest is what receives from sinks in tests: fakes on loopback that are strict where the real receivers are and
// say so in Problems: a webhook that verifies signatures, Splunk's event collector with indexer acknowledgement, a receiver
// of OTLP logs, a syslog receiver over TCP or TLS. Each can be broken both ways: refused and not taken, taken and the
// answer lost. They are fakes; what is tested against the real thing says so itself.
package sinktest
