// Package demo is a model that is none: a deterministic program behind the wire formats of real ones, so that somebody who
// has no provider's key can see a request go through the gateway and come back. On a request's path it stands at the far
// end, in the place of a provider. It tells the time, does arithmetic, calls a tool when told to, repeats everything else,
// and says in every answer what it is. What it reports as usage is what it counted: a word or a sign is a token.
package demo
