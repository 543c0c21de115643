// Package sqlite keeps an index in an SQLite file beside the journal: the engine of a gateway that works alone.
package sqlite
