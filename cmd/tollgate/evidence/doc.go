// Package evidence is the proof's part of the program: it wires ledger/proof into a running gateway, and has the commands
// tollgate audit verify, prove, export, keys and rotate-key. Nothing here is on a call's path.
//
// The commands read the log beside a running gateway, which is asked to bring in and sign what it has first; verifying an
// export or a proof needs no gateway and no config at all.
package evidence
