// Package llmtest is a fake LLM provider for tests: a real HTTP server on loopback that speaks every dialect and fails in
// every way that providers are known to fail. What it does is scripted by the model that a request names. It stands at the
// far end of a request's path and keeps what arrived there, so that a test can look for what must not have, and it tells
// when a request was given up.
//
//	p := llmtest.New(t)
//	p.Script("m", llmtest.Script{Status: 429, RetryAfter: "2"}, llmtest.Script{})
//	... call model m at p.URL twice ...
//	if got := p.Requests(); got[0].Header.Get("X-Api-Key") != "k" { ... }
package llmtest
