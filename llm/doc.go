// Package llm is the model side of the gateway: OpenAI's and Anthropic's APIs in, providers out.
//
// A request's path: [Proxy.ServeHTTP] finds the endpoint by its path; the edge guard, the key, the body and one strict
// scan turn it into a request, which keeps its format and its raw bytes for its whole life. The routes in force turn the
// model's name into targets and put them into an order that keeps a conversation where it was. Each target in turn is one
// gate.Do: a hold is priced, the permit opens the vault and the network, and the answer is relayed as it comes while its
// usage is read. Another target is asked only as long as nothing of an answer was said. Whatever goes wrong is told in
// the caller's dialect.
//
// Where the target speaks the caller's dialect, bytes pass through: the model's name and the wish for usage are spliced
// in, everything else is forwarded as it came, both ways.
package llm
