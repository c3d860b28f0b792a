"""The login to Vault, its token, and outages of the server."""
