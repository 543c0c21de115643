package vendor

// How far a row is confirmed.
const (
	docs      = "vendor docs"
	docsParts = "vendor docs; the dialects under Optional depend on account, version or model"
	custom    = "no vendor: what OpenAI's and Anthropic's SDKs expect of a base URL"
)

var (
	chatOnly   = []Dialect{Chat, Models}
	chatEmbed  = []Dialect{Chat, Embeddings, Models}
	openAI     = []Dialect{Chat, Responses, Embeddings, Models}
	localModel = []Dialect{Chat, Responses, Messages, Embeddings, Models}
)

// vendors are the rows, read only. They are plain data; a new vendor is a new row.
var vendors = [...]Vendor{
	{
		Kind: "openai", Root: "https://api.openai.com", Prefix: "/v1", Auth: Bearer, Dialects: openAI,
		KeyEnv: []string{"OPENAI_API_KEY"}, Source: docs,
	},
	{
		Kind: "anthropic", Root: "https://api.anthropic.com", Prefix: "/v1", Anthropic: "/v1", Auth: XAPIKey,
		Dialects: []Dialect{Messages, CountTokens, Models}, Optional: []Dialect{Chat},
		KeyEnv: []string{"ANTHROPIC_API_KEY"}, Source: docsParts,
	},
	{
		// Anthropic's models of a Foundry resource stand beside OpenAI's, under the same key.
		Kind: "azure", Root: "{AZURE_OPENAI_ENDPOINT}", Prefix: "/openai/v1", Anthropic: "/anthropic/v1", Auth: APIKey, AnthropicAuth: XAPIKey,
		Dialects: openAI, Optional: []Dialect{Messages, CountTokens},
		KeyEnv: []string{"AZURE_OPENAI_API_KEY"}, Source: docsParts,
	},
	{
		Kind: "bedrock", Root: "https://bedrock-runtime.{AWS_REGION}.amazonaws.com", Prefix: "/openai/v1", Anthropic: "/anthropic/v1", Auth: Bearer,
		Dialects: []Dialect{Chat}, Optional: []Dialect{Responses, Models, Messages},
		KeyEnv: []string{"AWS_BEARER_TOKEN_BEDROCK"}, Source: docsParts,
	},
	{
		Kind: "gemini", Root: "https://generativelanguage.googleapis.com", Prefix: "/v1beta/openai", Auth: Bearer, Dialects: chatEmbed,
		KeyEnv: []string{"GEMINI_API_KEY", "GOOGLE_API_KEY"}, Source: docs,
	},
	{
		Kind: "groq", Root: "https://api.groq.com", Prefix: "/openai/v1", Auth: Bearer,
		Dialects: []Dialect{Chat, Responses, Models}, KeyEnv: []string{"GROQ_API_KEY"},
		Quirks: Quirks{StatelessResponses: true}, Source: docs,
	},
	{
		Kind: "mistral", Root: "https://api.mistral.ai", Prefix: "/v1", Auth: Bearer, Dialects: chatEmbed,
		KeyEnv: []string{"MISTRAL_API_KEY"}, Quirks: Quirks{NoStreamOptions: true, UsageUnasked: true},
		Source: "vendor docs; it answers stream_options with 422, as its users report",
	},
	{
		Kind: "cohere", Root: "https://api.cohere.ai", Prefix: "/compatibility/v1", Auth: Bearer, Dialects: []Dialect{Chat, Embeddings},
		KeyEnv: []string{"COHERE_API_KEY", "CO_API_KEY"}, Quirks: Quirks{NoModelList: true}, Source: docs,
	},
	{
		Kind: "cerebras", Root: "https://api.cerebras.ai", Prefix: "/v1", Auth: Bearer, Dialects: chatOnly,
		KeyEnv: []string{"CEREBRAS_API_KEY"}, Source: docs,
	},
	{
		Kind: "ollama", Root: "http://127.0.0.1:11434", Prefix: "/v1", Anthropic: "/v1", Auth: Bearer, Dialects: localModel,
		BaseEnv: "OLLAMA_HOST", Local: true, Probe: "/api/version", Quirks: Quirks{StatelessResponses: true},
		Source: "vendor docs; responses needs 0.13.3, messages 0.14",
	},
	{
		Kind: "openrouter", Root: "https://openrouter.ai", Prefix: "/api/v1", Anthropic: "/api/v1", Auth: Bearer,
		Dialects: []Dialect{Chat, Responses, Messages, Embeddings, Models}, KeyEnv: []string{"OPENROUTER_API_KEY"},
		Quirks: Quirks{UsageUnasked: true, StatelessResponses: true}, Source: docs,
	},
	{
		Kind: "xai", Root: "https://api.x.ai", Prefix: "/v1", Anthropic: "/v1", Auth: Bearer,
		Dialects: []Dialect{Chat, Responses, Models}, Optional: []Dialect{Messages}, KeyEnv: []string{"XAI_API_KEY"},
		Source: "vendor docs; messages is deprecated there",
	},
	{
		Kind: "deepseek", Root: "https://api.deepseek.com", Prefix: "/v1", Anthropic: "/anthropic/v1", Auth: Bearer, AnthropicAuth: XAPIKey,
		Dialects: []Dialect{Chat, Messages, Models}, Optional: []Dialect{Responses}, KeyEnv: []string{"DEEPSEEK_API_KEY"},
		Quirks: Quirks{StatelessResponses: true}, Source: docsParts,
	},
	{
		Kind: "together", Root: "https://api.together.xyz", Prefix: "/v1", Auth: Bearer, Dialects: chatEmbed,
		KeyEnv: []string{"TOGETHER_API_KEY"}, Source: docs,
	},
	{
		Kind: "fireworks", Root: "https://api.fireworks.ai", Prefix: "/inference/v1", Anthropic: "/inference/v1", Auth: Bearer,
		Dialects: []Dialect{Chat, Responses, Messages, Embeddings, Models}, KeyEnv: []string{"FIREWORKS_API_KEY"}, Source: docs,
	},
	{
		Kind: "perplexity", Root: "https://api.perplexity.ai", Auth: Bearer, Dialects: []Dialect{Chat},
		KeyEnv: []string{"PERPLEXITY_API_KEY", "PPLX_API_KEY"},
		Quirks: Quirks{NoStreamOptions: true, UsageUnasked: true, UsageEveryChunk: true, NoModelList: true},
		Source: "vendor docs; usage in every chunk as observed by others",
	},
	{
		Kind: "nvidia", Root: "https://integrate.api.nvidia.com", Prefix: "/v1", Auth: Bearer, Dialects: chatEmbed,
		KeyEnv: []string{"NVIDIA_API_KEY"}, Source: docs,
	},
	{
		Kind: "sambanova", Root: "https://api.sambanova.ai", Prefix: "/v1", Auth: Bearer, Dialects: chatEmbed,
		KeyEnv: []string{"SAMBANOVA_API_KEY"}, Source: docs,
	},
	{
		Kind: "nebius", Root: "https://api.tokenfactory.nebius.com", Prefix: "/v1", Auth: Bearer, Dialects: chatEmbed,
		KeyEnv: []string{"NEBIUS_API_KEY"}, Source: docs,
	},
	{
		Kind: "huggingface", Root: "https://router.huggingface.co", Prefix: "/v1", Auth: Bearer, Dialects: chatOnly, Optional: []Dialect{Responses},
		KeyEnv: []string{"HF_TOKEN", "HUGGINGFACE_API_KEY"}, Source: docsParts,
	},
	{
		Kind: "parasail", Root: "https://api.parasail.io", Prefix: "/v1", Auth: Bearer, Dialects: chatOnly, Optional: []Dialect{Embeddings},
		KeyEnv: []string{"PARASAIL_API_KEY"}, Source: docsParts,
	},
	{
		Kind: "moonshot", Root: "https://api.moonshot.ai", Prefix: "/v1", Anthropic: "/anthropic/v1", Auth: Bearer,
		Dialects: []Dialect{Chat, Messages, Models}, KeyEnv: []string{"MOONSHOT_API_KEY"}, Source: docs,
	},
	{
		Kind: "zai", Root: "https://api.z.ai", Prefix: "/api/paas/v4", Anthropic: "/api/anthropic/v1", Auth: Bearer,
		Dialects: []Dialect{Chat, Messages}, Optional: []Dialect{Embeddings, Models}, KeyEnv: []string{"ZAI_API_KEY", "Z_AI_API_KEY"},
		Quirks: Quirks{NoModelList: true}, Source: docsParts,
	},
	{
		Kind: "minimax", Root: "https://api.minimax.io", Prefix: "/v1", Anthropic: "/anthropic/v1", Auth: Bearer,
		Dialects: []Dialect{Chat, Messages}, Optional: []Dialect{Models}, KeyEnv: []string{"MINIMAX_API_KEY"},
		Quirks: Quirks{NoModelList: true}, Source: docsParts,
	},
	{
		Kind: "qwen", Root: "https://dashscope-intl.aliyuncs.com", Prefix: "/compatible-mode/v1", Anthropic: "/apps/anthropic/v1", Auth: Bearer,
		Dialects: []Dialect{Chat, Messages, Embeddings}, Optional: []Dialect{Responses, Models}, KeyEnv: []string{"DASHSCOPE_API_KEY"}, Source: docsParts,
	},
	{
		Kind: "deepinfra", Root: "https://api.deepinfra.com", Prefix: "/v1/openai", Anthropic: "/anthropic/v1", Auth: Bearer,
		Dialects: []Dialect{Chat, Embeddings, Models}, Optional: []Dialect{Messages}, KeyEnv: []string{"DEEPINFRA_API_KEY", "DEEPINFRA_TOKEN"}, Source: docsParts,
	},
	{
		Kind: "github", Root: "https://models.github.ai", Prefix: "/inference", Auth: Bearer, Dialects: []Dialect{Chat, Embeddings},
		KeyEnv: []string{"GITHUB_MODELS_TOKEN"}, Quirks: Quirks{NoModelList: true}, Source: docs,
	},
	{
		Kind: "vllm", Root: "http://127.0.0.1:8000", Prefix: "/v1", Anthropic: "/v1", Auth: Bearer, Dialects: []Dialect{Chat, Embeddings, Models},
		Optional: []Dialect{Responses, Messages, CountTokens}, KeyEnv: []string{"VLLM_API_KEY"}, Local: true, Probe: "/health", Source: docsParts,
	},
	{
		Kind: "llamacpp", Root: "http://127.0.0.1:8080", Prefix: "/v1", Anthropic: "/v1", Auth: Bearer,
		Dialects: []Dialect{Chat, Responses, Messages, Embeddings, Models, CountTokens}, KeyEnv: []string{"LLAMA_API_KEY"},
		Local: true, Probe: "/health", Quirks: Quirks{StatelessResponses: true},
		Source: "its server's README; embeddings need --embeddings",
	},
	{
		Kind: "lmstudio", Root: "http://127.0.0.1:1234", Prefix: "/v1", Anthropic: "/v1", Auth: Bearer, Dialects: localModel,
		Local: true, Probe: "/v1/models", Source: "vendor docs; messages needs 0.4.1",
	},
	{
		Kind: Custom, Prefix: "/v1", Anthropic: "/v1", Auth: Bearer, AnthropicAuth: XAPIKey, Dialects: nil,
		Optional: Dialects(), Source: custom,
	},
}
