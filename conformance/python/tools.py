"""Drives the official MCP client for Python.

Reads {url, key, era, headers, steps} from standard input, does the steps one after the other on one connection and prints
one result per step: {ok, progress, asked} or {error: {code, message, data}}. era is legacy or the version to pin.
"""

import asyncio
import json
import sys

import httpx2
import mcp
import mcp_types
from mcp.client.streamable_http import streamable_http_client

job = json.load(sys.stdin)
told = {"progress": 0, "asked": 0}


async def progressed(progress, total=None, message=None):
    told["progress"] += 1


async def answer(context, params):
    told["asked"] += 1
    return mcp_types.ElicitResult(action="accept", content={"value": "Anna"})


def plain(result):
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


async def perform(client, do, name="", args=None, uri="", watch=False):
    match do:
        case "tools":
            return plain(await client.list_tools())
        case "resources":
            return plain(await client.list_resources())
        case "prompts":
            return plain(await client.list_prompts())
        case "call":
            return plain(await client.call_tool(name, args or {}, progress_callback=progressed if watch else None))
        case "read":
            return plain(await client.read_resource(uri))
        case "prompt":
            return plain(await client.get_prompt(name, args or {}))
        case "server":
            return {"name": client.server_info.name, "version": client.protocol_version}


async def main():
    headers = {"Authorization": f"Bearer {job['key']}", **(job.get("headers") or {})}
    results = []
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        transport = streamable_http_client(job["url"], http_client=http)
        async with mcp.Client(transport, mode=job["era"], elicitation_callback=answer) as client:
            for step in job["steps"]:
                told.update(progress=0, asked=0)
                try:
                    results.append({"ok": await perform(client, **step), **told})
                except mcp.MCPError as e:
                    results.append({"error": {"code": e.code, "message": e.message, "data": e.data}})
    json.dump(results, sys.stdout)


asyncio.run(main())
