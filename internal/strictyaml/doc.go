// Package strictyaml reads the files an operator writes: the config and the policies.
//
// A mistyped key that is ignored is a limit that does not hold, so nothing is ignored: an unknown or repeated key, a key
// without a value, an alias and a second document are findings, each with file and line, and all findings of a file are
// reported at once. Types that implement yaml.Unmarshaler read their own node and may use [Node] inside.
package strictyaml
