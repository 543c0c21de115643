"""A FastMCP server on standard input and output: a result with a schema, progress, questions, a resource, a prompt."""

import asyncio

import mcp_types
from fastmcp import Context, FastMCP

FORM = {"type": "object", "properties": {"value": {"type": "string"}}, "required": ["value"]}

server = FastMCP("fast")


@server.tool
def add(a: int, b: int) -> int:
    return a + b


@server.tool
async def count(n: int, ctx: Context) -> str:
    for i in range(n):
        await ctx.report_progress(i + 1, n)
        await asyncio.sleep(0.02)  # some clients forget what arrives together with the answer
    return f"counted to {n}"


@server.tool
async def ask(ctx: Context) -> str:
    """Asks as servers before 2026-07-28 do."""
    answer = await ctx.elicit("What is your name?", response_type=str)
    return f"{answer.action} {getattr(answer, 'data', '')}"


@server.tool(output_schema=None)
async def ask_first(ctx: Context):
    """Asks as servers of 2026-07-28 do."""
    if not ctx.input_responses:
        params = mcp_types.ElicitRequestFormParams(message="What is your name?", requested_schema=FORM)
        return mcp_types.InputRequiredResult(input_requests={"name": mcp_types.ElicitRequest(params=params)})
    answer = ctx.input_responses["name"]
    return f"{answer.action} {answer.content['value']}"


@server.resource("fast://note")
def note() -> str:
    return "a note of fast"


@server.prompt
def greet(who: str) -> str:
    return f"greet {who}"


server.run(show_banner=False)
