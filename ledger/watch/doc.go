// Package watch tells telemetry how the ledger's journal stands with its disk: how long syncs take, how much waits for
// one, what the journal takes and what is left. What calls cost and how many there are is the gate's to tell.
package watch
