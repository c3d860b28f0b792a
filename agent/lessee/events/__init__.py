"""Event sources: Redis streams, a Unix socket, and Vault Enterprise's event stream."""
