// Package rpc reads and writes JSON-RPC 2.0 messages of MCP without decoding what they carry.
//
// [Parse] scans a message strictly once and notes where its id, method and the few governed members of params stand;
// what else it holds stays the bytes it came in. Answers are put together from such bytes by [AppendHead],
// [AppendError] and [AppendNotification].
package rpc
