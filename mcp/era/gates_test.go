package era

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/mcp/upstream"
)

// TestVersionGates is what clients of each legacy version get of what came with later ones: extra members stay, since
// schemas are open, but content types become text and questions that a version does not know are not asked.
func TestVersionGates(t *testing.T) {
	const (
		text    = `{"type":"text","text":"t"}`
		image   = `{"type":"image","data":"AA==","mimeType":"image/png"}`
		inside  = `{"type":"resource","resource":{"uri":"x://y","text":"t"}}`
		audio   = `{"type":"audio","data":"AA==","mimeType":"audio/wav"}`
		link    = `{"type":"resource_link","uri":"x://y","name":"n"}`
		noAudio = `{"type":"text","text":"audio content, which protocol version 2024-11-05 cannot carry"}`
		noLink  = `{"type":"text","text":"resource: x://y"}`
		object  = `"structuredContent":{"n":12345678901234567890}`
	)
	versions := []string{V2024, V2025Mar, V2025Jun, V2025Nov}
	same := func(s string) []string { return []string{s, s, s, s} }
	for _, tt := range []struct {
		name, result string
		want         []string // by version
	}{
		{"known content", `{"content":[` + text + `,` + image + `,` + inside + `]}`, same(`{"content":[` + text + `,` + image + `,` + inside + `]}`)},
		{"audio", `{"content":[` + text + `, ` + audio + `]}`,
			[]string{`{"content":[` + text + `, ` + noAudio + `]}`, `{"content":[` + text + `, ` + audio + `]}`, `{"content":[` + text + `, ` + audio + `]}`, `{"content":[` + text + `, ` + audio + `]}`}},
		{"resource link", `{"content":[` + link + `],"isError":false}`,
			[]string{`{"content":[` + noLink + `],"isError":false}`, `{"content":[` + noLink + `],"isError":false}`, `{"content":[` + link + `],"isError":false}`, `{"content":[` + link + `],"isError":false}`}},
		{"audio in a prompt", `{"messages":[{"role":"user","content":` + audio + `}]}`,
			[]string{`{"messages":[{"role":"user","content":` + noAudio + `}]}`, `{"messages":[{"role":"user","content":` + audio + `}]}`, `{"messages":[{"role":"user","content":` + audio + `}]}`, `{"messages":[{"role":"user","content":` + audio + `}]}`}},
		{"resource link in a prompt", `{"messages":[1,{"content":` + link + `,"x":1}]}`,
			[]string{`{"messages":[1,{"content":` + noLink + `,"x":1}]}`, `{"messages":[1,{"content":` + noLink + `,"x":1}]}`, `{"messages":[1,{"content":` + link + `,"x":1}]}`, `{"messages":[1,{"content":` + link + `,"x":1}]}`}},
		{"structured content", `{"content":[` + text + `],` + object + `}`, same(`{"content":[` + text + `],` + object + `}`)},
		{"structured content of another shape", `{"content":[` + text + `],"structuredContent":[1]}`, same(`{"content":[` + text + `]}`)},
		{"an unknown content type", `{"content":[{"type":"video"},"x",null]}`, same(`{"content":[{"type":"video"},"x",null]}`)},
	} {
		r, err := ReadResult([]byte(tt.result))
		if err != nil {
			t.Fatal(err)
		}
		for i, version := range versions {
			got := r.For(&Context{Era: upstream.Legacy, Version: version}, nil, false)
			if string(got) != tt.want[i] || !json.Valid(got) {
				t.Errorf("%s for %s:\n got %s\nwant %s", tt.name, version, got, tt.want[i])
			}
		}
	}
	const all = `{"elicitation":{"form":{},"url":{}},"sampling":{"tools":{}},"roots":{}}`
	for _, tt := range []struct{ name, method, params, asked string }{ // asked: the versions that are
		{"form", Elicit, `{"message":"m","requestedSchema":{"type":"object","properties":{}}}`, V2025Jun + " " + V2025Nov},
		{"url", Elicit, `{"mode":"url","message":"m","url":"https://a/","elicitationId":"1"}`, V2025Nov},
		{"sampling", Sample, `{"messages":[],"maxTokens":1}`, strings.Join(versions, " ")},
		{"roots", ListRoots, `{}`, strings.Join(versions, " ")},
	} {
		for _, version := range versions {
			_, refused := Question(version, Declared(version, []byte(all)), tt.method, []byte(tt.params))
			if asked := refused == nil; asked != strings.Contains(tt.asked, version) {
				t.Errorf("%s for %s: asked %v, %v", tt.name, version, asked, refused)
			}
		}
	}
}
