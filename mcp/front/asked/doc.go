// Package asked keeps what the client of a session was asked on behalf of servers and has not answered yet: which
// response belongs to which question, and whose question it is that the client reports its progress on.
package asked
