// Package updates keeps which resources the client of a session watches, a [Set], and what any client that watches
// something has not been told of it yet, a [Queue]. Who is told, and how, is the front's to say.
package updates
