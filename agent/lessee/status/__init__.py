"""The agent's status: its HTTP server, pages, metrics and client."""
