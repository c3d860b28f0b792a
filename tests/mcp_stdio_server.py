"""A real MCP server at a pipe, of the protocol's own SDK; what it was started with is in its environment, as VALUE."""

import os

import anyio
from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel

server = MCPServer("test", log_level="ERROR")


class Said(BaseModel):
    word: str


@server.tool()
def who() -> str:
    """Say what the server was started with, and its pid."""
    return f"{os.environ.get('VALUE')} {os.getpid()}"


@server.tool()
async def slow(seconds: float, context: Context) -> str:
    """Take some time, and tell of progress."""
    for part in range(4):
        await context.report_progress(part, 4)
        await anyio.sleep(seconds / 4)
    return f"{os.environ.get('VALUE')} {os.getpid()}"


@server.tool()
async def ask(context: Context) -> str:
    """Ask the client."""
    answer = await context.elicit("a word, please", Said)
    return f"{answer.action} {answer.data.word if answer.action == 'accept' else ''} {os.getpid()}"


@server.tool()
def crash() -> str:
    """End without an answer."""
    os._exit(3)


@server.tool()
async def changes(context: Context) -> str:
    """Tell who listens that the tools are others."""
    await context.notify_tools_changed()
    return "told"


if __name__ == "__main__":
    server.run("stdio")
