// Package collector paces Go's garbage collector for a process that serves requests: a small heap may grow to several
// times what lives in it before it is collected, which saves a good part of the collector's work, but never by more than
// a bounded amount of memory. It stands beside a request's path, not on it.
package collector
