"""The steps of `lessee mcp wrap`."""
