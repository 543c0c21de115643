// Package strictjson reads JSON that came from outside once, before anything else does.
//
// A body that two parsers could read in two ways is a way around policy: duplicate names, names that differ from a
// governed one only by case, bad UTF-8, a NUL in a name. [Paths.Scan] refuses those, bounds depth and size, and in the same pass
// notes where the few members stand that the gateway governs. Everything else is then forwarded as it came, and what must
// change is changed by [Splice]. Nothing is ever re-encoded.
package strictjson
