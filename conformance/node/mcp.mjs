// Drives the official MCP client. Reads {url, key, era, headers, steps} from standard input, does the steps one after the
// other on one connection and prints one result per step: {ok} or {error: {code, message, data}}.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { text } from 'node:stream/consumers';

const job = JSON.parse(await text(process.stdin));

const client = new Client(
  { name: 'conformance', version: '1.0.0' },
  { versionNegotiation: { mode: job.era === 'legacy' ? 'legacy' : { pin: job.era } } },
);

const actions = {
  tools: () => client.listTools(),
  resources: () => client.listResources(),
  prompts: () => client.listPrompts(),
  call: ({ name, args }) => client.callTool({ name, arguments: args ?? {} }),
  read: ({ uri }) => client.readResource({ uri }),
  prompt: ({ name, args }) => client.getPrompt({ name, arguments: args ?? {} }),
  server: async () => ({ version: client.getNegotiatedProtocolVersion(), name: client.getServerVersion()?.name ?? "" }),
};

async function perform(step) {
  try {
    return { ok: await actions[step.do](step) };
  } catch (e) {
    return { error: { code: e.code ?? 0, message: String(e.message), data: e.data } };
  }
}

const headers = { Authorization: `Bearer ${job.key}`, ...job.headers };
await client.connect(new StreamableHTTPClientTransport(new URL(job.url), { requestInit: { headers } }));
const results = [];
for (const step of job.steps) results.push(await perform(step));
await client.close();
console.log(JSON.stringify(results));
