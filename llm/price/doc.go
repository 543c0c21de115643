// Package price turns what a model call used into money and says what to hold for it before it leaves. On a request's
// path it is asked twice: Find and Hold before the gate reserves, Cost when the answer's usage is known.
//
// All money is whole nano-USD and all arithmetic exact: a Rate is nano-USD per million units, a cost is the sum of all
// products, divided by a million once and rounded up to the next nano-USD. A price that is not known is ErrUnknownPrice
// and never zero; zero is a price like any other.
//
// The catalog embedded here is a dated snapshot of list prices in our own format, written by internal/snapshot; its head
// names the sources and the day, each row which of them it is from. Prices that the config declares win over it. Names are matched exactly or by a dated suffix; a model that merely
// resembles a known one is unknown.
package price
