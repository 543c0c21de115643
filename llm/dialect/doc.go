// Package dialect holds what is particular to each LLM wire format: which members of a request are governed, how an
// error looks as a body and in the middle of a stream, and what a stream's frames mean. It is data and small functions;
// on a request's path the proxy asks it right after the body was read ([Format.Scan]) and again for every frame that
// comes back ([Stream.Read]). It knows no provider, no principal and no network.
//
// A request keeps its format and its raw bytes together for its whole life, and a relay is chosen by the pair of formats
// in and out. Same format on both sides, the only pair there is so far, forwards the bytes as they came.
package dialect
