"""A real MCP server over HTTP from the official SDK: `python mcp_server.py PORT open|any|only [KEYFILE]`.

`only` accepts the key in the file as bearer token, `any` accepts every bearer token, `open` needs none.
"""

import sys
from pathlib import Path

import uvicorn
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer

port, mode, *file = sys.argv[1:]
key = Path(file[0]).read_text() if file else ""


class Verifier:
    async def verify_token(self, token):
        return AccessToken(token=token, client_id="test", scopes=[]) if mode == "any" or token == key else None


url = f"http://127.0.0.1:{port}"
settings = AuthSettings(issuer_url=url, resource_server_url=f"{url}/mcp", validate_token_resource=False)
authentication = {"token_verifier": Verifier(), "auth": settings}
server = MCPServer("test", log_level="ERROR", **({} if mode == "open" else authentication))


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


uvicorn.run(server.streamable_http_app(), host="127.0.0.1", port=int(port), log_level="error")
