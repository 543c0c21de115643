// Package shape writes a ledger's entry in the forms that receivers of sinks read: the public JSON of an entry, the events
// of the Open Cybersecurity Schema Framework (OCSF) and the Common Event Format (CEF). Each is one line of UTF-8 without
// control characters, whatever an agent put into a name: what an entry says cannot begin an entry of its own.
package shape
