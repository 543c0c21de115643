// Drives the official OpenAI and Anthropic SDKs. Reads {url, key, headers, steps} from standard input, does the steps one
// after the other and prints one result per step: {ok: {text, input, output, events}} or {error: {code, message}}.
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { text } from 'node:stream/consumers';

const job = JSON.parse(await text(process.stdin));
const common = { apiKey: job.key, defaultHeaders: job.headers, maxRetries: 0 };
const openai = (prefix) => new OpenAI({ ...common, baseURL: `${job.url}${prefix}/v1` });
const anthropic = (prefix) => new Anthropic({ ...common, baseURL: `${job.url}${prefix}` });

const user = (prompt) => [{ role: 'user', content: prompt }];

const actions = {
  async chat({ model, prompt, stream, prefix = '' }) {
    const ask = { model, messages: user(prompt), max_completion_tokens: 64 };
    if (!stream) {
      const r = await openai(prefix).chat.completions.create(ask);
      return { text: r.choices[0].message.content, input: r.usage.prompt_tokens, output: r.usage.completion_tokens, events: 0 };
    }
    const got = { text: '', input: 0, output: 0, events: 0 };
    for await (const chunk of await openai(prefix).chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } })) {
      got.events++;
      got.text += chunk.choices[0]?.delta?.content ?? '';
      if (chunk.usage) [got.input, got.output] = [chunk.usage.prompt_tokens, chunk.usage.completion_tokens];
    }
    return got;
  },
  async responses({ model, prompt, stream, prefix = '' }) {
    const ask = { model, input: prompt, max_output_tokens: 64 };
    if (!stream) {
      const r = await openai(prefix).responses.create(ask);
      return { text: r.output_text, input: r.usage.input_tokens, output: r.usage.output_tokens, events: 0 };
    }
    const got = { text: '', input: 0, output: 0, events: 0 };
    for await (const event of await openai(prefix).responses.create({ ...ask, stream: true })) {
      got.events++;
      if (event.type === 'response.output_text.delta') got.text += event.delta;
      if (event.type === 'response.completed') [got.input, got.output] = [event.response.usage.input_tokens, event.response.usage.output_tokens];
    }
    return got;
  },
  async embeddings({ model, prompt, prefix = '' }) {
    const r = await openai(prefix).embeddings.create({ model, input: prompt });
    return { text: `${r.data[0].embedding.length} dimensions`, input: r.usage.prompt_tokens, output: 0, events: 0 };
  },
  async models({ sdk, prefix = '' }) {
    const ids = [];
    for await (const m of (sdk === 'anthropic' ? anthropic : openai)(prefix).models.list()) ids.push(m.id);
    return { text: ids.join(' '), input: 0, output: 0, events: 0 };
  },
  async messages({ model, prompt, stream, prefix = '' }) {
    const ask = { model, messages: user(prompt), max_tokens: 64 };
    if (!stream) {
      const r = await anthropic(prefix).messages.create(ask);
      return { text: r.content[0].text, input: r.usage.input_tokens, output: r.usage.output_tokens, events: 0 };
    }
    const got = { text: '', input: 0, output: 0, events: 0 };
    const running = anthropic(prefix).messages.stream(ask);
    for await (const event of running) {
      got.events++;
      if (event.type === 'content_block_delta') got.text += event.delta.text;
    }
    const whole = await running.finalMessage();
    [got.input, got.output] = [whole.usage.input_tokens, whole.usage.output_tokens];
    return got;
  },
  async count_tokens({ model, prompt, prefix = '' }) {
    const r = await anthropic(prefix).messages.countTokens({ model, messages: user(prompt) });
    return { text: '', input: r.input_tokens, output: 0, events: 0 };
  },
};

async function perform(step) {
  try {
    return { ok: await actions[step.do](step) };
  } catch (e) {
    return { error: { code: e.status ?? 0, message: String(e.message), data: { retry_after: e.headers?.get?.('retry-after') ?? '' } } };
  }
}

const results = [];
for (const step of job.steps) results.push(await perform(step));
console.log(JSON.stringify(results));
