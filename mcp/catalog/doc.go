// Package catalog holds what the servers offer, as callers may see it.
//
// [Digest] turns the raw lists of one server into a [Shelf]: every definition that breaks a rule is withheld and reported,
// the rest get their exposed names by splicing and are otherwise the bytes the server sent. A [Space] puts shelves
// together into one namespace and routes names back to servers. A [View] is what one caller may see of a space; it hands
// out pages. All three are immutable, so that lists are served without a lock and without marshalling.
//
// # Rules
//
// A tool's exposed name has at most 64 characters of A-Z a-z 0-9 _ -; a prompt's is printable ASCII of at most 128.
// Names that differ only by case or by 0/o and 1/l are all withheld: a model or a person could take one for the other.
// Descriptions have at most 4 KiB, schemas at most 64 KiB, and a server has at most 512 tools. Control characters,
// bidirectional overrides, tag characters and other invisible ones may stand nowhere in a definition, since a model
// reads what a person does not see; joiners inside emoji and in scripts that need them may. Nothing is stripped: what a
// server says is shown as it is or not at all.
package catalog
