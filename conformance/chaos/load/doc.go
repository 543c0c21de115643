// Package load is the 200 workers of a chaos run. Each has a key and calls models and tools through replicas taken at
// random, again and again, whatever happens: it waits after a refusal about as long as it was told but never long, goes to
// another replica when one is gone, sometimes hangs up in mid-answer, and notes every call that it made. A call that
// failed is not sent again: the next one has a nonce of its own.
package load
