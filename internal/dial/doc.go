// Package dial opens connections to addresses that may be hostile.
//
// It is below the gate: gate pools use it for every upstream, and the few other parts that must dial by themselves
// (database, telemetry) name their addresses in a listed table and use it too. The address is checked after the name has been resolved
// and right before the connection is made, so a name that resolves to something else the second time gains nothing.
//
// There are two levels of trust. An address that the operator wrote may be private, because tool servers usually are, but
// never one that only attackers and metadata services use. Any other address (a vendor's default, something discovered)
// must be public.
package dial
