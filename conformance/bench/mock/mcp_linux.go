package mock

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/tollgate/tollgate/conformance/bench/wire"
)

var (
	methodField  = []byte(`"method":"`)
	idField      = []byte(`"id":`)
	versionField = []byte(`"protocolVersion":"`)
)

// rpc answers one JSON-RPC message. It finds what it needs by its spelling, as compact encoders write it; no message of
// the benchmark has another "id" or "method" before the envelope's.
func (s *Server) rpc(c *conn, path string, body []byte) error {
	method, _, _ := bytes.Cut(after(body, methodField), []byte(`"`))
	id := messageID(body)
	if id == nil {
		return c.Write(s.canned.accepted) // a notification
	}
	legacy := path == "/mcp-legacy"
	switch string(method) {
	case "tools/call":
		return s.result(c, id, `"content":[{"type":"text","text":"the toll is paid"}],"isError":false`)
	case "tools/list":
		list := s.canned.fewTools
		if path == "/mcp-large" {
			list = s.canned.manyTools
		}
		return s.result(c, id, `"ttlMs":60000,"cacheScope":"public","tools":`+string(list))
	case "initialize":
		if !legacy {
			return s.failure(c, id, "400 Bad Request", `{"code":-32022,"message":"this server speaks 2026-07-28","data":{"supported":["2026-07-28"],"requested":"2025-11-25"}}`)
		}
		version, _, _ := bytes.Cut(after(body, versionField), []byte(`"`))
		return s.result(c, id, `"protocolVersion":"`+string(version)+`","capabilities":{"tools":{}},"serverInfo":{"name":"mock","version":"1"}`)
	case "server/discover":
		if legacy {
			break
		}
		return s.result(c, id, `"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":60000,"cacheScope":"public","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"mock","version":"1"}}`)
	case "subscriptions/listen":
		return s.listen(c, id)
	case "ping":
		return s.result(c, id, "")
	}
	return s.failure(c, id, "404 Not Found", `{"code":-32601,"message":"the mock has no such method"}`)
}

// messageID returns the message's id as it was written, nil for a notification.
func messageID(body []byte) []byte {
	rest := after(body, idField)
	if end := bytes.IndexAny(rest, ",}"); end > 0 {
		return rest[:end]
	}
	return nil
}

// result answers with a result of the given members; resultType is one of them, which legacy clients ignore.
func (s *Server) result(c *conn, id []byte, members string) error {
	size := len(`{"jsonrpc":"2.0","id":,"result":{"resultType":"complete"}}`) + len(id) + len(members)
	if members != "" {
		members = "," + members
		size++
	}
	out := appendHead(s.out[:0], "200 OK", size)
	out = append(append(out, `{"jsonrpc":"2.0","id":`...), id...)
	out = append(append(append(out, `,"result":{"resultType":"complete"`...), members...), "}}"...)
	s.out = out
	return c.Write(out)
}

func (s *Server) failure(c *conn, id []byte, status, object string) error {
	out := appendHead(s.out[:0], status, len(`{"jsonrpc":"2.0","id":,"error":}`)+len(id)+len(object))
	out = append(append(out, `{"jsonrpc":"2.0","id":`...), id...)
	out = append(append(append(out, `,"error":`...), object...), '}')
	s.out = out
	return c.Write(out)
}

// listen acknowledges a subscription and says nothing more.
func (s *Server) listen(c *conn, id []byte) error {
	event := fmt.Sprintf("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/subscriptions/acknowledged\",\"params\":{\"notifications\":{},\"_meta\":{\"io.modelcontextprotocol/subscriptionId\":%s}}}\n\n", id)
	c.stream = &stream{left: 1}
	return c.Write(wire.AppendChunk(append(s.out[:0], s.canned.streamHead...), []byte(event)))
}

func appendHead(b []byte, status string, bodyBytes int) []byte {
	b = append(append(b, "HTTP/1.1 "...), status...)
	b = append(b, "\r\nContent-Type: application/json\r\nContent-Length: "...)
	return append(strconv.AppendInt(b, int64(bodyBytes), 10), "\r\n\r\n"...)
}

// tools returns a list of n tools as a JSON array; the first is echo.
func tools(n int) []byte {
	b := []byte("[")
	for i := range n {
		name := "echo"
		if i > 0 {
			b = append(b, ',')
			name = fmt.Sprintf("tool_%03d", i)
		}
		b = fmt.Appendf(b, `{"name":%q,"description":"Returns a fixed text. Stands for one of many tools of an ordinary size.","inputSchema":{"type":"object","properties":{"text":{"type":"string","description":"anything"},"limit":{"type":"integer","minimum":1}},"required":["text"]},"annotations":{"readOnlyHint":true}}`, name)
	}
	return append(b, ']')
}
