"""Drives the official OpenAI and Anthropic SDKs.

Reads {url, key, headers, steps} from standard input, does the steps one after the other and prints one result per step:
{ok: {text, input, output, events}} or {error: {code, message}}.
"""

import json
import sys

import anthropic
import openai

job = json.load(sys.stdin)
common = {"api_key": job["key"], "default_headers": job.get("headers"), "max_retries": 0}


def openai_at(prefix):
    return openai.OpenAI(base_url=f"{job['url']}{prefix}/v1", **common)


def anthropic_at(prefix):
    return anthropic.Anthropic(base_url=f"{job['url']}{prefix}", **common)


def user(prompt):
    return [{"role": "user", "content": prompt}]


def result(text="", input=0, output=0, events=0):
    return {"text": text, "input": input, "output": output, "events": events}


def chat(model, prompt, stream=False, prefix="", **_):
    ask = {"model": model, "messages": user(prompt), "max_completion_tokens": 64}
    completions = openai_at(prefix).chat.completions
    if not stream:
        r = completions.create(**ask)
        return result(r.choices[0].message.content, r.usage.prompt_tokens, r.usage.completion_tokens)
    got = result()
    for chunk in completions.create(**ask, stream=True, stream_options={"include_usage": True}):
        got["events"] += 1
        if chunk.choices:
            got["text"] += chunk.choices[0].delta.content or ""
        if chunk.usage:
            got["input"], got["output"] = chunk.usage.prompt_tokens, chunk.usage.completion_tokens
    return got


def responses(model, prompt, stream=False, prefix="", **_):
    ask = {"model": model, "input": prompt, "max_output_tokens": 64}
    if not stream:
        r = openai_at(prefix).responses.create(**ask)
        return result(r.output_text, r.usage.input_tokens, r.usage.output_tokens)
    got = result()
    for event in openai_at(prefix).responses.create(**ask, stream=True):
        got["events"] += 1
        if event.type == "response.output_text.delta":
            got["text"] += event.delta
        if event.type == "response.completed":
            got["input"], got["output"] = event.response.usage.input_tokens, event.response.usage.output_tokens
    return got


def embeddings(model, prompt, prefix="", **_):
    r = openai_at(prefix).embeddings.create(model=model, input=prompt)
    return result(f"{len(r.data[0].embedding)} dimensions", r.usage.prompt_tokens)


def models(sdk, prefix="", **_):
    client = anthropic_at(prefix) if sdk == "anthropic" else openai_at(prefix)
    return result(" ".join(m.id for m in client.models.list()))


def messages(model, prompt, stream=False, prefix="", **_):
    ask = {"model": model, "messages": user(prompt), "max_tokens": 64}
    if not stream:
        r = anthropic_at(prefix).messages.create(**ask)
        return result(r.content[0].text, r.usage.input_tokens, r.usage.output_tokens)
    got = result()
    with anthropic_at(prefix).messages.stream(**ask) as running:
        for event in running:
            got["events"] += 1
            if event.type == "content_block_delta":
                got["text"] += event.delta.text
        usage = running.get_final_message().usage
    got["input"], got["output"] = usage.input_tokens, usage.output_tokens
    return got


def count_tokens(model, prompt, prefix="", **_):
    r = anthropic_at(prefix).messages.count_tokens(model=model, messages=user(prompt))
    return result(input=r.input_tokens)


ACTIONS = {f.__name__: f for f in (chat, responses, embeddings, models, messages, count_tokens)}


def perform(step):
    arguments = {name: value for name, value in step.items() if name != "do"}
    try:
        return {"ok": ACTIONS[step["do"]](**arguments)}
    except (openai.APIStatusError, anthropic.APIStatusError) as e:
        retry = e.response.headers.get("retry-after", "")
        return {"error": {"code": e.status_code, "message": e.message, "data": {"retry_after": retry}}}


json.dump([perform(step) for step in job["steps"]], sys.stdout)
