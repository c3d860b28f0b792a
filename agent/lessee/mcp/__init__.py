"""The MCP relay: continues a client's session over restarts of its server."""
