// The steps that mcp.mjs and v1.mjs do: both clients have the same methods.
import { text } from 'node:stream/consumers';

// main reads the job, has connect make a client that answers questions with the given function, and does the steps. connect
// returns {client, version, call}: the two lines differ in how a tool is called with options.
export async function main(connect) {
  const job = JSON.parse(await text(process.stdin));
  let progress = 0;
  let asked = 0;
  const answers = async () => {
    asked++;
    return { action: 'accept', content: { value: 'Anna' } };
  };
  const { client, version, call } = await connect(job, { Authorization: `Bearer ${job.key}`, ...job.headers }, answers);
  const told = { onprogress: () => void progress++ };
  const actions = {
    tools: () => client.listTools(),
    resources: () => client.listResources(),
    prompts: () => client.listPrompts(),
    call: ({ name, args, watch }) => call({ name, arguments: args ?? {} }, watch ? told : {}),
    read: ({ uri }) => client.readResource({ uri }),
    prompt: ({ name, args }) => client.getPrompt({ name, arguments: args ?? {} }),
    server: async () => ({ version, name: client.getServerVersion()?.name ?? '' }),
  };
  const results = [];
  for (const step of job.steps) {
    progress = asked = 0;
    try {
      results.push({ ok: await actions[step.do](step), progress, asked });
    } catch (e) {
      results.push({ error: { code: e.code ?? 0, message: String(e.message), data: e.data } });
    }
  }
  await client.close();
  console.log(JSON.stringify(results));
}
