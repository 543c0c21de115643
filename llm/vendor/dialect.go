package vendor

// Dialect is an LLM wire format: what a client speaks and what a provider understands.
type Dialect string

// The dialects a request can be made in.
const (
	Chat        Dialect = "chat"         // OpenAI chat completions
	Responses   Dialect = "responses"    // OpenAI responses over HTTP
	Messages    Dialect = "messages"     // Anthropic messages
	Embeddings  Dialect = "embeddings"   // OpenAI embeddings
	Models      Dialect = "models"       // the list of models, OpenAI's shape or Anthropic's
	CountTokens Dialect = "count_tokens" // Anthropic messages/count_tokens
)

// Dialects returns all dialects in a fixed order.
func Dialects() []Dialect {
	return []Dialect{Chat, Responses, Messages, Embeddings, Models, CountTokens}
}

// Valid reports whether d is one of the dialects.
func (d Dialect) Valid() bool {
	switch d {
	case Chat, Responses, Messages, Embeddings, Models, CountTokens:
		return true
	}
	return false
}

// Path returns d's path as the vendor that made it writes it: "/v1/chat/completions".
func (d Dialect) Path() string { return "/v1" + d.tail() }

// tail is the part of d's path that is the same at every vendor.
func (d Dialect) tail() string {
	switch d {
	case Chat:
		return "/chat/completions"
	case Responses:
		return "/responses"
	case Messages:
		return "/messages"
	case Embeddings:
		return "/embeddings"
	case Models:
		return "/models"
	case CountTokens:
		return "/messages/count_tokens"
	}
	return ""
}

// anthropic reports whether d is of Anthropic's family, whose base URLs are written without /v1.
func (d Dialect) anthropic() bool { return d == Messages || d == CountTokens }
