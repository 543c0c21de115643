// Drives the official MCP client of the line before: as mcp.mjs, but era is legacy (streamable HTTP) or sse.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { main } from './steps.mjs';

await main(async (job, headers, answers) => {
  const client = new Client({ name: 'conformance', version: '1.0.0' }, { capabilities: { elicitation: { form: {} } } });
  client.setRequestHandler(ElicitRequestSchema, answers);
  const Transport = job.era === 'sse' ? SSEClientTransport : StreamableHTTPClientTransport;
  await client.connect(new Transport(new URL(job.url), { requestInit: { headers } }));
  return { client, version: '', call: (params, options) => client.callTool(params, undefined, options) };
});
