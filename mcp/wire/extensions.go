package wire

import (
	"github.com/tollgate/tollgate/internal/strictjson"
)

const (
	// tasksExtension has methods of its own, so it is declared only for exchanges that can be given a task.
	tasksExtension = "io.modelcontextprotocol/tasks"
	// appsExtension is the client's alone to declare: what a server has for it stands in its definitions.
	appsExtension = "io.modelcontextprotocol/ui"
	// apps is what the gateway itself declares when it lists: what a server offers to apps is for the gateway's clients to use.
	apps = `{"` + appsExtension + `":{"mimeTypes":["text/html;profile=mcp-app"]}}`
	// own are the gateway's own capabilities.
	own = `{"extensions":` + apps + `}`
)

// offers reports whether a server with these capabilities offers an extension.
func offers(server []byte, extension string) bool {
	extensions := strictjson.Lookup(server, strictjson.Whole(server), "extensions")
	return extensions.Kind == '{' && strictjson.Lookup(server, extensions, extension).Kind == '{'
}

// extensions is what a server with these capabilities is told of the extensions of a caller, the object declared in caller:
// those that both declare, in the caller's words. server nil: not known yet, so the caller's own word goes on. tasks says
// that the exchange can be given a task, whoever polls it. Nil: none.
func extensions(caller []byte, declared strictjson.Value, server []byte, tasks bool) []byte {
	b := []byte{'{'}
	add := func(member []byte) {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(b, member...)
	}
	if declared.Kind == '{' {
		for name, v := range strictjson.Members(caller, declared) {
			if n := string(name); n != tasksExtension && (n == appsExtension || server == nil || offers(server, n)) {
				add(caller[v.Name:v.End])
			}
		}
	}
	if tasks && offers(server, tasksExtension) {
		add([]byte(`"` + tasksExtension + `":{}`))
	}
	if len(b) == 1 {
		return nil
	}
	return append(b, '}')
}
