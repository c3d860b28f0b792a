"""Finds secrets in an MCP client's configuration, and rewrites it so that `lessee exec` starts its servers."""
