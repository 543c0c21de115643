package llm

import (
	"net/http"
	"strings"

	"github.com/tollgate/tollgate/llm/dialect"
	"github.com/tollgate/tollgate/llm/vendor"
)

// endpoint is what a path stands for.
type endpoint struct {
	dialect vendor.Dialect // empty: known, but not served
	family  dialect.Family
	model   string // of a question for one model
	hello   bool   // Claude Code's check that somebody is there
}

// served is every endpoint there is, for the answer to those who ask for another one.
const served = "POST /v1/chat/completions, /v1/responses, /v1/embeddings, /v1/messages, /v1/messages/count_tokens and GET /v1/models"

// unserved are the first segments of paths that OpenAI's and Anthropic's clients know and this gateway does not serve at
// its root without /v1. Under /v1, /openai and /anthropic every path is known.
var unserved = [...]string{
	"agents", "assistants", "audio", "batches", "completions", "containers", "conversations", "files", "images", "moderations",
	"realtime", "rerank", "skills", "threads", "uploads", "vector_stores", "videos",
}

// Patterns are the paths that a Proxy answers, as http.ServeMux takes them.
func Patterns() []string {
	out := []string{"/v1/", "/openai/", "/anthropic/", "/api/hello"}
	for _, root := range []string{"chat", "responses", "embeddings", "models", "messages"} {
		out = append(out, "/"+root, "/"+root+"/")
	}
	for _, root := range unserved {
		out = append(out, "/"+root, "/"+root+"/")
	}
	return out
}

// Register puts p onto mux for all its Patterns.
func (p *Proxy) Register(mux *http.ServeMux) {
	for _, pattern := range Patterns() {
		mux.Handle(pattern, p)
	}
}

// endpointOf reads the path of a request: an optional /openai or /anthropic, an optional /v1, and what follows.
func endpointOf(r *http.Request) endpoint {
	path := strings.TrimPrefix(r.URL.Path, "/")
	if path == "api/hello" {
		return endpoint{family: dialect.Anthropic, hello: true}
	}
	e := endpoint{}
	if len(r.Header["Anthropic-Version"]) > 0 {
		e.family = dialect.Anthropic
	}
	if rest, ok := strings.CutPrefix(path, "openai/"); ok {
		path, e.family = rest, dialect.OpenAI
	} else if rest, ok := strings.CutPrefix(path, "anthropic/"); ok {
		path, e.family = rest, dialect.Anthropic
	}
	path = strings.TrimPrefix(path, "v1/")
	path = strings.TrimSuffix(path, "/")
	switch path {
	case "chat/completions":
		return endpoint{dialect: vendor.Chat}
	case "responses":
		return endpoint{dialect: vendor.Responses}
	case "embeddings":
		return endpoint{dialect: vendor.Embeddings}
	case "messages":
		return endpoint{dialect: vendor.Messages, family: dialect.Anthropic}
	case "messages/count_tokens":
		return endpoint{dialect: vendor.CountTokens, family: dialect.Anthropic}
	case "models":
		e.dialect = vendor.Models
	default:
		if model, ok := strings.CutPrefix(path, "models/"); ok {
			e.dialect, e.model = vendor.Models, model
		} else if strings.HasPrefix(path, "messages") {
			e.family = dialect.Anthropic
		}
	}
	return e
}

// method is the one that the endpoint takes.
func (e *endpoint) method() string {
	if e.dialect == vendor.Models {
		return http.MethodGet
	}
	return http.MethodPost
}
