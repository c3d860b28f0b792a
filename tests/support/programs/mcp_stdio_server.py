"""A real MCP server over stdio from the official SDK; its secret is the environment variable VALUE."""

import os

from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("test", log_level="ERROR")


@server.tool()
def who() -> str:
    """Return the server's VALUE and its pid."""
    return f"{os.environ.get('VALUE')} {os.getpid()}"


@server.tool()
async def changes(context: Context) -> str:
    """Notify subscribed clients that the list of tools has changed."""
    await context.notify_tools_changed()
    return "notified"


if __name__ == "__main__":
    server.run("stdio")
