"""A real stateless MCP server for `uvicorn --workers`, which reads its key at its start."""

import os
from pathlib import Path

from mcp.server.mcpserver import MCPServer

key = Path(os.environ["KEY_FILE"]).read_text()
server = MCPServer("test", log_level="ERROR")


@server.tool()
def who() -> str:
    """Return the key, the pid, and the pid of the parent process."""
    return f"{key} {os.getpid()} {os.getppid()}"


app = server.streamable_http_app(stateless_http=True, json_response=True)
