// snapshot.mjs writes catalog.csv: the list prices and limits of the vendors in the table below, as facts taken from two
// public collections, in a format of our own. It is run by hand, its output is read and committed:
//
//   npm install @pydantic/genai-prices@0.1.8          (MIT; prices by unit, with dates and sources)
//   pip download --no-deps litellm==1.110.2           (MIT; limits, service tiers, further vendors)
//   unzip litellm-*.whl 'litellm/model_prices*'
//   node snapshot.mjs 2026-11-24 litellm/model_prices_and_context_window_backup.json > ../../catalog.csv
//
// A model that both collections price gets the figures of the first; where the two differ it says so on standard error
// and takes the dearer.
// Rates by hour of the day are written as the dearest hour's, announced rises as rows of their own with their day.
import { readFileSync } from 'node:fs';
import { calcPrice, findProvider } from '@pydantic/genai-prices';

const [day, path] = process.argv.slice(2);
const second = JSON.parse(readFileSync(path, 'utf8'));

// Our kind, the first collection's provider, the second's prefix and provider name.
const vendors = [
  ['openai', 'openai', '', 'openai'],
  ['anthropic', 'anthropic', '', 'anthropic'],
  ['azure', 'azure', 'azure/', 'azure'],
  ['bedrock', '', '', 'bedrock_converse'],
  ['bedrock', '', 'bedrock_mantle/', 'bedrock_mantle'],
  ['gemini', 'google', 'gemini/', 'gemini'],
  ['groq', 'groq', 'groq/', 'groq'],
  ['mistral', 'mistral', 'mistral/', 'mistral'],
  ['cohere', 'cohere', '', 'cohere_chat'],
  ['cohere', 'cohere', '', 'cohere'],
  ['cerebras', 'cerebras', 'cerebras/', 'cerebras'],
  ['openrouter', 'openrouter', 'openrouter/', 'openrouter'],
  ['xai', 'x-ai', 'xai/', 'xai'],
  ['deepseek', 'deepseek', 'deepseek/', 'deepseek'],
  ['together', 'together', 'together_ai/', 'together_ai'],
  ['fireworks', 'fireworks', 'fireworks_ai/', 'fireworks_ai'],
  ['perplexity', 'perplexity', 'perplexity/', 'perplexity'],
  ['sambanova', '', 'sambanova/', 'sambanova'],
  ['nebius', '', 'nebius/', 'nebius'],
  ['moonshot', 'moonshotai', 'moonshot/', 'moonshot'],
  ['zai', 'zai', 'zai/', 'zai'],
  ['minimax', 'minimax', 'minimax/', 'minimax'],
  ['qwen', '', 'dashscope/', 'dashscope'],
  ['deepinfra', '', 'deepinfra/', 'deepinfra'],
];
const plainNames = new Set(['azure', 'bedrock', 'cohere', 'perplexity']);
const modes = new Set(['chat', 'responses', 'completion', 'embedding']);

// num writes USD per million units without the noise of binary fractions, rounded up to a whole nano-USD.
const num = (x) => (x === undefined || x === null || x === '' ? '' : (Math.ceil(Number(x) * 1e9 - 1e-3) / 1e9).toFixed(9).replace(/\.?0+$/, ''));
const mtok = (x) => (x === undefined || x === null ? undefined : Number((x * 1e6).toPrecision(9)));

// The columns that hold rates, with the names that the two collections give them.
const rates = [
  ['input', 'input_mtok', 'input_cost_per_token'],
  ['output', 'output_mtok', 'output_cost_per_token'],
  ['cache_read', 'cache_read_mtok', 'cache_read_input_token_cost'],
  ['cache_write', 'cache_write_mtok', 'cache_creation_input_token_cost'],
  ['cache_write_1h', 'cache_write_1h_mtok', 'cache_creation_input_token_cost_above_1hr'],
  ['reasoning', 'output_reasoning_mtok', 'output_cost_per_reasoning_token'],
  ['audio_input', 'input_audio_mtok', 'input_cost_per_audio_token'],
  ['audio_output', 'output_audio_mtok', 'output_cost_per_audio_token'],
  ['image', 'output_image_mtok', 'output_cost_per_image_token'],
];

// byUnit reads prices of the first collection: base rates and tiers.
function byUnit(p) {
  const row = { tiers: {} };
  for (const [column, key] of rates) {
    const value = p[key];
    if (value === undefined) continue;
    if (typeof value === 'number') { row[column] = value; continue; }
    row[column] = value.base;
    for (const t of value.tiers) (row.tiers[t.start] ??= {})[column] = t.price;
  }
  if (p.web_searches_kcount !== undefined) row.web_search = p.web_searches_kcount / 1000;
  if (p.requests_kcount !== undefined) row.call = p.requests_kcount / 1000;
  return row;
}

// dearest joins the rates of several hours of one day.
function dearest(rows) {
  const out = { ...rows[0] };
  for (const row of rows) for (const key in row) if (key !== 'tiers') out[key] = Math.max(out[key] ?? 0, row[key]);
  return out;
}

// dated returns the rows of a model of the first collection: what holds on the day, and what is announced.
function dated(model) {
  if (!Array.isArray(model.prices)) return [{ from: '', ...byUnit(model.prices) }];
  let hours = [], now = null, later = [];
  for (const c of model.prices) {
    const row = byUnit(c.prices);
    if (!c.constraint) now = row;
    else if (c.constraint.type === 'start_date') {
      if (c.constraint.start_date <= day) now = row; else later.push({ from: c.constraint.start_date, ...row });
    } else hours.push(row);
  }
  return [{ from: '', ...dearest([now, ...hours].filter(Boolean)) }, ...later];
}

// fromSecond reads an entry of the second collection.
function fromSecond(e) {
  const row = { tiers: {}, from: '' };
  for (const [column, , key] of rates) {
    if (e[key] !== undefined) row[column] = mtok(e[key]);
    for (const k in e) {
      const m = k.match(/^(.*)_above_(\d+)k_tokens$/);
      if (m && m[1] === key) (row.tiers[Number(m[2]) * 1000] ??= {})[column] = mtok(e[k]);
    }
  }
  return addSecond(row, e);
}

// addSecond takes what only the second collection knows.
function addSecond(row, e) {
  if (!e) return row;
  const search = e.search_context_cost_per_query;
  if (row.web_search === undefined && search) row.web_search = Math.max(...Object.values(search));
  row.context = e.max_input_tokens && e.max_output_tokens && e.max_input_tokens + e.max_output_tokens <= 1_100_000 && e.litellm_provider === 'openai' ? e.max_input_tokens + e.max_output_tokens : e.max_input_tokens;
  row.max_output = e.mode === 'embedding' ? undefined : e.max_output_tokens;
  const service = {};
  for (const tier of ['batches', 'flex', 'priority']) {
    const ratio = ['input', 'output'].map((k) => e[`${k}_cost_per_token_${tier}`] / e[`${k}_cost_per_token`]).filter(Number.isFinite);
    if (ratio.length) service[tier === 'batches' ? 'batch' : tier] = Math.max(...ratio);
  }
  const extra = e.provider_specific_entry ?? {};
  if (extra.fast) service.fast = extra.fast;
  row.service = Object.entries(service).map(([k, v]) => `${k}=${Number(v.toPrecision(4))}`).join(' ');
  return row;
}

function rows(kind, first, prefix, name) {
  const provider = first && findProvider({ providerId: first });
  const names = new Map();
  for (const m of provider?.models ?? []) if (!m.deprecated && !/:free$/.test(m.id) && (kind !== 'openrouter' || m.id.includes('/'))) names.set(m.id, null);
  for (const [key, e] of Object.entries(second)) {
    if (e.litellm_provider !== name || !key.startsWith(prefix) || !modes.has(e.mode)) continue;
    if (e.deprecation_date && e.deprecation_date < day) continue;
    const model = key.slice(prefix.length);
    if (plainNames.has(kind) && model.includes('/')) continue; // regional or resold: not what a request names
    if (e.input_cost_per_token === undefined || model.includes(',')) continue;
    names.set(model, e);
  }
  const out = [];
  for (const [model, e] of names) {
    let priced = null;
    try { priced = provider && calcPrice({ input_tokens: 1 }, model, { providerId: first, timestamp: new Date(day) }); } catch { priced = null; }
    const own = priced && priced.provider.id === first ? priced.model : null;
    if (!own && !e) continue;
    const other = e && fromSecond(e);
    // A pattern of the first collection may be wider than the model: then the second's exact name counts.
    const wide = own && own.id !== model && other && (other.input !== byUnitInput(own) );
    let [from, source] = own && !wide ? [dated(own), 'genai-prices'] : [[other], 'litellm'];
    if (other && source === 'genai-prices' && differs(from[0], other)) {
      console.error(`${kind}/${model}: ${from[0].input}/${from[0].output} and ${other.input}/${other.output}`);
      if (total(other) > total(from[0])) [from, source] = [[other], 'litellm'];
    }
    for (const row of from) {
      if (!total(row)) continue; // a zero in a public list may also mean that nobody knows
      if (source === 'genai-prices' && e) addSecond(row, e);
      row.context ??= own?.context_window;
      out.push({ vendor: kind, model, ...row, source });
    }
  }
  return out;
}

const total = (row) => (row.input ?? 0) + (row.output ?? 0);
const differs = (a, b) => a.input !== b.input || (a.output ?? 0) !== (b.output ?? 0);
function byUnitInput(model) { return dated(model)[0].input; }

const columns = ['vendor', 'model', 'from', ...rates.map((r) => r[0]), 'web_search', 'call', 'context', 'max_output', 'tiers', 'service', 'source'];
function line(row) {
  const tiers = Object.entries(row.tiers).map(([above, t]) => `${above}:${rates.map(([c]) => num(t[c] ?? row[c])).join('/')}`).join(' ');
  return columns.map((c) => (c === 'tiers' ? tiers : ['vendor', 'model', 'from', 'service', 'source', 'context', 'max_output'].includes(c) ? row[c] ?? '' : num(row[c]))).join(',');
}

const seen = new Map();
for (const v of vendors) for (const row of rows(...v)) {
  const key = `${row.vendor},${row.model},${row.from}`;
  if (!seen.has(key)) seen.set(key, row);
}
// A dated name that costs what its undated one does needs no row: the lookup drops the date.
const base = (m) => m.replace(/[-@](\d{4}-\d{2}-\d{2}|\d{8})$/, '');
const text = (row) => line({ ...row, model: '', source: '' });
for (const [key, row] of [...seen]) {
  const b = base(row.model);
  const plain = b !== row.model && seen.get(`${row.vendor},${b},${row.from}`);
  if (plain && text(plain) === text(row)) seen.delete(key);
}
console.log(`# List prices in USD per million tokens (web_search, call: each), as of ${day}.`);
console.log('# Facts from @pydantic/genai-prices 0.1.8 and litellm 1.110.2 (both MIT), written by internal/snapshot.');
console.log(columns.join(','));
for (const key of [...seen.keys()].sort()) console.log(line(seen.get(key)));
