"""The files in which a project configures the MCP servers of its developers' clients."""

from lessee.core.immutable import ImmutableStruct


class Client(ImmutableStruct, frozen=True):
    """A client, and where its file is in a project's folder.

    `has_long_sessions`: it starts a server once and uses it as long as it runs, so the server has to be restarted
    within the session when a secret changes. Other programs may start a server for each call.
    """

    name: str
    path: str
    has_long_sessions: bool = True


CLIENTS = (
    Client("Claude Code", ".mcp.json"),
    Client("Cursor", ".cursor/mcp.json"),
    Client("VS Code", ".vscode/mcp.json"),
    Client("VS Code", ".vscode/settings.json"),
    Client("Claude Desktop", "claude_desktop_config.json"),
    Client("Roo Code", ".roo/mcp.json"),
    Client("Kiro", ".kiro/settings/mcp.json"),
    Client("Gemini CLI", ".gemini/settings.json"),
    Client("Amazon Q", ".amazonq/mcp.json"),
    Client("an MCP client", "mcp.json", has_long_sessions=False),
    Client("an MCP client", "mcp_config.json", has_long_sessions=False),
    Client("an MCP client", "mcp/mcp.json", has_long_sessions=False),
    Client("an MCP client", "config/mcp.json", has_long_sessions=False),
)
"""In the order in which adopt changes them."""
