// Package views keeps what each caller sees of the catalog: its view, which rules have filtered, and the beginnings of list
// results made from it. Callers who see the same share both. A new catalog or a new policy makes all of it anew.
package views
