"""How the secrets of an MCP client's configuration are found, and what the file becomes without them."""
