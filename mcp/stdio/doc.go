// Package stdio carries exchanges to one MCP server through the pipe of a supervised child.
//
// A child is a gate.Do of its own for as long as it runs. Each message is written by gate.Conn under the permit of its
// call, and the answer is held until that call's entry is on disk. A child that dies is started again by the next call,
// after a wait that grows when it dies young again and again.
//
// One shared child lists, and serves everybody whom it has nothing to ask and nothing to tell. A legacy child that may ask
// its caller something, or that has logs and subscriptions, does not say on the pipe for whom that is: each such caller has
// a child of its own, by principal and by what it has declared, and by client where it is a legacy session. What such a
// child asks goes to the exchange it can only belong to (a client's: to the newest, else to the client itself), and is
// refused where there are several or none. Config.Shared forces the one child on all; it is then told that nobody can be
// asked. Children of callers are few, stopped when they are idle or their client leaves, and started again by the next call
// or when a resource is watched in them.
//
// Known limits: a caller beyond childrenMax busy ones is refused, and an idle child that makes room for another takes what
// its server remembered with it. Resources of modern children are not watched.
package stdio
