"""Keeps the session of an MCP client while its server is started anew: decisions alone."""
