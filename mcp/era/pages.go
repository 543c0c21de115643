package era

import (
	"strings"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/upstream"
)

// pagesMax bounds the pages that one error may want visited.
const pagesMax = 16

// Pages are the pages that a server's -32042 error, a raw object that has been scanned, wants a person to visit before
// the call is made again: each the raw params of an elicitation in mode url. Nil: it names none that can be told.
func Pages(raw []byte) (pages [][]byte) {
	list := strictjson.Lookup(raw, member(raw, "data"), "elicitations")
	for _, v := range strictjson.Elements(raw, list) {
		if v.Kind != '{' || Page(v.In(raw)) == "" || len(pages) == pagesMax {
			return nil
		}
		pages = append(pages, v.In(raw))
	}
	return pages
}

// Page is the URL of an elicitation in mode url, by its raw params; empty: it is none.
func Page(params []byte) string {
	if mode, _ := text(member(params, "mode").In(params)); mode != "url" {
		return ""
	}
	url, _ := text(member(params, "url").In(params))
	return url
}

// Visit says in words what is to be done before the call can be made, for a caller that cannot be asked to.
func Visit(pages ...[]byte) string {
	var b strings.Builder
	b.WriteString("the server needs a page to be visited first")
	for _, p := range pages {
		message, _ := text(member(p, "message").In(p))
		url, _ := text(member(p, "url").In(p))
		b.WriteString(": ")
		if message != "" {
			b.WriteString(message + " ")
		}
		b.WriteString(url)
	}
	b.WriteString("; then call again")
	return b.String()
}

// pagesFor is a -32042 error, which only 2025-11-25 has, for a caller in the era of x. A modern one that can be asked to
// visit pages gets it as it is: package front makes a question of it.
func pagesFor(x *Context, e *rpc.Error) *rpc.Error {
	pages := Pages(e.Raw)
	switch {
	case x.Era == upstream.Legacy && x.Version >= V2025Nov:
		return e
	case pages == nil:
		return recode(e, rpc.CodeInternal, "")
	case x.Era == upstream.Modern && CanVisit(x):
		return e
	case x.Era == upstream.Modern:
		return &rpc.Error{
			Code: rpc.CodeCapability, HTTP: 400, Message: Visit(pages...),
			Data: []byte(`{"requiredCapabilities":{"elicitation":{"url":{}}}}`),
		}
	}
	return &rpc.Error{Code: rpc.CodeInternal, Message: Visit(pages...), Data: dataOf(e.Raw)}
}

// dataOf is the data of a raw error object; nil: none.
func dataOf(raw []byte) []byte {
	if v := member(raw, "data"); v.Present() {
		return v.In(raw)
	}
	return nil
}

// CanVisit reports whether the caller of x can be asked to visit a page.
func CanVisit(x *Context) bool {
	if x.Era == upstream.Legacy && x.Version < V2025Nov {
		return false
	}
	return strictjson.Lookup(x.Capabilities, member(x.Capabilities, "elicitation"), "url").Kind == '{'
}

// Accepts reports whether an answer to an elicitation is one of consent.
func Accepts(answer []byte) bool {
	action, _ := text(member(answer, "action").In(answer))
	return action == "accept"
}

// MessageOf is the text of a raw error object.
func MessageOf(failure []byte) string {
	message, _ := text(member(failure, "message").In(failure))
	return message
}
