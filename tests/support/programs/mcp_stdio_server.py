"""A real MCP server at a pipe, of the protocol's own SDK; what it was started with is in its environment, as VALUE."""

import os

from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("test", log_level="ERROR")


@server.tool()
def who() -> str:
    """Say what the server was started with, and its pid."""
    return f"{os.environ.get('VALUE')} {os.getpid()}"


@server.tool()
async def changes(context: Context) -> str:
    """Tell who listens that the tools are others."""
    await context.notify_tools_changed()
    return "told"


if __name__ == "__main__":
    server.run("stdio")
