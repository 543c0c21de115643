// Package reply is what is said to one request over HTTP: plain JSON, or an event stream from the first notification or
// keep-alive on. A GET stream is one, too. One that can be resumed keeps its events in a replay.Log; it outlives its
// connection and may get another.
package reply
