// Drives the official MCP client. Reads {url, key, era, headers, steps} from standard input, does the steps one after the
// other on one connection and prints one result per step: {ok, progress, asked} or {error: {code, message, data}}. era is
// legacy or the version to pin. With a command in the job the client spawns that instead of going to the url.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { main } from './steps.mjs';

await main(async (job, headers, answers) => {
  const client = new Client(
    { name: 'conformance', version: '1.0.0' },
    { capabilities: { elicitation: { form: {} } }, versionNegotiation: { mode: job.era === 'legacy' ? 'legacy' : { pin: job.era } } },
  );
  client.setRequestHandler('elicitation/create', answers);
  const [command, ...args] = job.command ?? [];
  const transport = command
    ? new StdioClientTransport({ command, args, env: { TOLLGATE_KEY: job.key } })
    : new StreamableHTTPClientTransport(new URL(job.url), { requestInit: { headers } });
  await client.connect(transport);
  return { client, version: client.getNegotiatedProtocolVersion(), call: (params, options) => client.callTool(params, options) };
});
