"""Keeps an MCP client's session while its server restarts."""
