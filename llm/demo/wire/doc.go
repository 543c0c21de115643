// Package wire writes answers in the LLM dialects: as a body or as the events of a stream. It stands at the far end of a
// request's path, where the provider is: the demo model and the fake provider of the tests both speak through it. It says
// what an answer is, not what it costs or who may have it.
package wire
