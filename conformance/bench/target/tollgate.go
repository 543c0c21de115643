package target

import (
	"context"
	"fmt"

	"github.com/tollgate/tollgate/conformance/launch"
)

// benchKey is the virtual key of the benchmark's agent.
const benchKey = "tg_bench_key_of_twenty_or_more_characters"

// tollgateConfig has everything on: a key in a team of a customer, limits at each of them, prices, three tool servers.
const tollgateConfig = `
providers:
  mock: {dialects: [chat], base_url: http://%[1]s/v1, api_key: env:MOCK_KEY, connections: 4096, price: {input: 0.10 USD/1M, output: 0.40 USD/1M}}
servers:
  modern: {url: http://%[1]s/mcp, trusted: true, price: {call: 0.000001 USD}}
  legacy: {url: http://%[1]s/mcp-legacy, trusted: true, price: {call: 0.000001 USD}}
  large:  {url: http://%[1]s/mcp-large, trusted: true}
customers: {acme: {limits: [1000000 USD / 1M]}}
teams: {platform: {customer: acme, limits: [500000 USD / 1d]}}
keys: {bench: {team: platform, secret: env:BENCH_KEY, limits: [100000 USD / 1d, 100000000 requests / 1m]}}
`

// tenRules are rules as a company would have them: some match every call here, most are about something else.
const tenRules = `version: 1
rules:
  - {id: models, effect: allow, models: ["mock/*"], when: 'team.name == "platform"'}
  - {id: tools, effect: allow, tools: ["modern/*", "legacy/*", "large/*"], when: tool.read_only}
  - {id: no-shell, effect: deny, tools: ["*/shell", "*/exec*"]}
  - {id: no-destruction, effect: deny, tools: ["*"], when: 'tool.destructive && !tool.read_only'}
  - {id: long-texts, effect: deny, tools: ["*"], if: 'has(args.text) && args.text contains "BEGIN PRIVATE KEY"'}
  - {id: no-images, effect: deny, models: ["*/dall-e-*", "*/gpt-image-*"]}
  - {id: dear-models, effect: approve, models: ["*/o1-pro*", "*/claude-opus-*"], if: call.est_cost > 1}
  - {id: nights, effect: deny, tools: ["mail/*"], if: now.hour < 6}
  - {id: search-rate, effect: limit, tools: ["web/search"], limit: 30 requests / 1m, per: key}
  - {id: contractors, effect: deny, models: ["*"], when: '"contractor" in key.tags'}
`

// StartTollgate starts the binary, as the target of that name, in dir with a config in which everything is on: key, ten rules, four limits, ledger,
// prices, metrics and sampled traces, which go to the mock.
func StartTollgate(ctx context.Context, name, binary, dir, mock string) (*Target, error) {
	g, err := launch.Start(ctx, launch.Config{
		Binary: binary, Dir: dir, YAML: fmt.Sprintf(tollgateConfig, mock), Policies: map[string]string{"rules.yaml": tenRules},
		Env: []string{
			"BENCH_KEY=" + benchKey, "MOCK_KEY=not-a-secret",
			"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + mock, "OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.05",
		},
	})
	if err != nil {
		return nil, err
	}
	return &Target{Name: name, Addr: g.Addr, Key: benchKey, Process: g.Process, Metrics: "http://" + g.Admin + metricsPath}, nil
}
