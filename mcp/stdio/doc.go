// Package stdio carries exchanges to one MCP server through the pipe of a supervised child.
//
// A child is a gate.Do of its own for as long as it runs. Each message is written by gate.Conn under the permit of its
// call, and the answer is held until that call's entry is on disk. A child that dies is started again by the next call,
// after a wait that grows when it dies young again and again.
//
// Known limits: one child serves all principals; log messages of a child are dropped, because nothing says whose they
// are.
package stdio
