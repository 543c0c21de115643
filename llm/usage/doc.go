// Package usage finds out what a model call used. On a request's path it works three times: Measure and History say how
// much to expect before the call leaves, Reader takes the counts out of the answer while it passes by, one event or one
// body at a time, and Result makes of them the disjoint quantities that the ledger keeps.
//
// Dialects count differently: OpenAI's prompt includes what came from the cache, Anthropic's does not; some vendors leave
// reasoning out of the completion, some hide it in the total. All of that ends here. Counts are only ever raised, never
// lowered, by what comes later in a stream; what a provider cannot mean (negative, absurdly large) is dropped and said so;
// what is missing is estimated and marked.
//
// Reading is lenient on purpose: an answer that is not quite JSON is still forwarded, and what can be read of it counts.
package usage
