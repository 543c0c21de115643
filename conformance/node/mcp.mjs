// Drives the official MCP client. Reads {url, key, era, headers, steps} from standard input, does the steps one after the
// other on one connection and prints one result per step: {ok, progress, asked} or {error: {code, message, data}}. era is
// legacy or the version to pin.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { main } from './steps.mjs';

await main(async (job, headers, answers) => {
  const client = new Client(
    { name: 'conformance', version: '1.0.0' },
    { capabilities: { elicitation: { form: {} } }, versionNegotiation: { mode: job.era === 'legacy' ? 'legacy' : { pin: job.era } } },
  );
  client.setRequestHandler('elicitation/create', answers);
  await client.connect(new StreamableHTTPClientTransport(new URL(job.url), { requestInit: { headers } }));
  return { client, version: client.getNegotiatedProtocolVersion(), call: (params, options) => client.callTool(params, options) };
});
