package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
)

// paste is what the starter prints to be pasted. {url}, {key}, {program} and {stdio} are replaced.
const paste = `try it:
  curl -s {url}/v1/chat/completions -H "Authorization: Bearer {key}" -H "Content-Type: application/json" -d '{"model":"demo/demo","messages":[{"role":"user","content":"what is 6*7?"}]}'
  curl -s {url}/mcp -H "Authorization: Bearer {key}" -H "Content-Type: application/json" -H "Accept: application/json, text/event-stream" -H "MCP-Protocol-Version: 2026-07-28" -H "Mcp-Method: tools/call" -H "Mcp-Name: demo__calculate" -d '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"demo__calculate","arguments":{"expression":"6*7"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}'
  {program} audit query                # what those calls left in the ledger

Claude Code:
  claude mcp add --transport http tollgate {url}/mcp --header "Authorization: Bearer {key}"
  ANTHROPIC_BASE_URL={url} ANTHROPIC_AUTH_TOKEN={key} claude        # models too: needs a provider that speaks messages

Codex (~/.codex/config.toml, with TOLLGATE_KEY={key} in the environment):
  [mcp_servers.tollgate]
  url = "{url}/mcp"
  bearer_token_env_var = "TOLLGATE_KEY"
  [model_providers.tollgate]
  name = "Tollgate"
  base_url = "{url}/v1"
  env_key = "TOLLGATE_KEY"
  wire_api = "responses"

Cursor (~/.cursor/mcp.json):
  {"mcpServers":{"tollgate":{"url":"{url}/mcp","headers":{"Authorization":"Bearer {key}"}}}}

VS Code:
  code --add-mcp '{"name":"tollgate","type":"http","url":"{url}/mcp","headers":{"Authorization":"Bearer {key}"}}'

Gemini CLI:
  gemini mcp add --transport http tollgate {url}/mcp --header "Authorization: Bearer {key}"

Clients that only spawn a process (Claude Desktop's claude_desktop_config.json and others):
  {"mcpServers":{"tollgate":{stdio}}}

Clients of 2024-11-05 (HTTP+SSE):
  {url}/sse with the header Authorization: Bearer {key}

OpenAI and Anthropic SDKs:
  OPENAI_BASE_URL={url}/v1 OPENAI_API_KEY={key}
  ANTHROPIC_BASE_URL={url} ANTHROPIC_API_KEY={key}

Ctrl-C stops it. To go on from here: copy examples/reference.yaml to tollgate.yaml and keep what you need.
`

// pasteLines are the lines for a gateway at url and a key.
func pasteLines(program, stdio, url, key string) string {
	return strings.NewReplacer("{url}", url, "{key}", key, "{program}", program, "{stdio}", stdio).Replace(paste)
}

// stdioLine is how a client spawns its way to the starter with that data directory, as JSON; empty: the default one. The
// client has another working directory and PATH.
func stdioLine(data string) string {
	spawn := struct {
		Command string   `json:"command"`
		Args    []string `json:"args"`
	}{Command: os.Args[0], Args: []string{"stdio"}}
	if self, err := os.Executable(); err == nil {
		spawn.Command = self
	}
	if dir, err := filepath.Abs(data); err == nil && data != "" {
		spawn.Args = append(spawn.Args, "--starter-data", dir)
	}
	line, err := json.Marshal(spawn)
	if err != nil {
		panic(err) // texts
	}
	return string(line)
}
