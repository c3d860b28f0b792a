"""`lessee mcp wrap`: moves the secrets of an MCP client's configuration into Vault."""
