"""A real MCP server for `uvicorn --workers`, which keeps nothing of its sessions; it reads its key when it starts."""

import os
from pathlib import Path

from mcp.server.mcpserver import MCPServer

key = Path(os.environ["KEY_FILE"]).read_text()
server = MCPServer("test", log_level="ERROR")


@server.tool()
def who() -> str:
    """Say what it was started with, its pid, and that of the server whose worker it is."""
    return f"{key} {os.getpid()} {os.getppid()}"


app = server.streamable_http_app(stateless_http=True, json_response=True)
