package dialect

import (
	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/llm/vendor"
	"github.com/tollgate/tollgate/policy"
)

// Family is whose error bodies and model lists a client understands.
type Family uint8

// The two families of clients.
const (
	OpenAI Family = iota
	Anthropic
)

// Format is one wire format. Immutable, safe for concurrent use.
type Format struct {
	Dialect vendor.Dialect
	Action  policy.Action
	Family  Family
	Streams bool // a request may ask for a stream

	lines lines // how its streams read; nil: it has none
	scan  *strictjson.Paths
	order []Field // of scan's paths
	// answer finds the id and the model in the event that announces an answer.
	answer *strictjson.Paths
	whole  *strictjson.Paths // the same in an answer that came as one body
}

// lines says what one frame of a stream means. name is its event field, data its data.
type lines func(s *Stream, name, data []byte) Frame

// Set is all formats by dialect. Immutable, safe for concurrent use.
type Set map[vendor.Dialect]*Format

// New compiles the formats.
func New() Set {
	all := []*Format{
		{
			Dialect: vendor.Chat, Action: policy.Chat, Streams: true, lines: chatFrame,
			order: []Field{Model, Streaming, OutputMax, OutputMaxOld, StreamOptions, IncludeUsage, Choices, Tier, Tools, WebSearch, CacheKey, User, Turns},
		},
		{
			Dialect: vendor.Responses, Action: policy.Responses, Streams: true, lines: responsesFrame,
			order: []Field{Model, Streaming, OutputMax, Tier, Tools, Previous, Conversation, Background, Store, CacheKey, User, System, Turns},
		},
		{
			Dialect: vendor.Messages, Action: policy.Messages, Family: Anthropic, Streams: true, lines: messagesFrame,
			order: []Field{Model, Streaming, OutputMax, Tier, Tools, Servers, User, System, Turns},
		},
		{Dialect: vendor.Embeddings, Action: policy.Embeddings, order: []Field{Model, User}},
		{Dialect: vendor.CountTokens, Action: policy.CountTokens, Family: Anthropic, order: []Field{Model}},
	}
	set := Set{}
	for _, f := range all {
		paths := make([]string, len(f.order))
		for i, field := range f.order {
			paths[i] = f.path(field)
		}
		f.scan = strictjson.Compile(paths...)
		f.answer, f.whole = strictjson.Compile("response.id", "response.model"), strictjson.Compile("id")
		set[f.Dialect] = f
	}
	return set
}

// Field is a governed member of a request, by what it means.
type Field uint8

// The governed members. Not every format has each.
const (
	Model         Field = iota
	Streaming           // whether the answer comes as a stream
	OutputMax           // most tokens of output
	OutputMaxOld        // its older name in chat, which some servers still read
	StreamOptions       // chat
	IncludeUsage        // chat: whether a stream ends with its usage
	Choices             // chat: how many answers
	Tier                // service tier: another price
	Tools               // may hold tools that the provider runs and charges for
	WebSearch           // chat: a search that the provider runs and charges for
	Servers             // messages: MCP servers that the provider calls by itself
	Previous            // responses: an answer the provider keeps
	Conversation        // responses: a conversation the provider keeps
	Background          // responses: answered later, elsewhere
	Store               // responses: whether the provider keeps the answer
	CacheKey            // the client's own name for a conversation
	User                // the client's name for its user
	System              // instructions before the turns
	Turns               // messages or input
	fieldCount
)

// path is where field stands in a request of f.
func (f *Format) path(field Field) string {
	switch field {
	case OutputMax:
		switch f.Dialect {
		case vendor.Chat:
			return "max_completion_tokens"
		case vendor.Responses:
			return "max_output_tokens"
		}
		return "max_tokens"
	case User:
		if f.Family == Anthropic {
			return "metadata.user_id"
		}
		return "user"
	case System:
		if f.Dialect == vendor.Responses {
			return "instructions"
		}
		return "system"
	case Turns:
		if f.Dialect == vendor.Responses {
			return "input"
		}
		return "messages"
	}
	return paths[field]
}

// paths are the names that are the same in every format.
var paths = [fieldCount]string{
	Model: "model", Streaming: "stream", OutputMaxOld: "max_tokens", StreamOptions: "stream_options",
	IncludeUsage: "stream_options.include_usage", Choices: "n", Tier: "service_tier", Tools: "tools",
	WebSearch: "web_search_options", Servers: "mcp_servers", Previous: "previous_response_id", Conversation: "conversation",
	Background: "background", Store: "store", CacheKey: "prompt_cache_key",
}

// Name returns the member's name as a request of f writes it.
func (f *Format) Name(field Field) string { return f.path(field) }
