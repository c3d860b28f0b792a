"""Files that are made without Vault, at a cold start."""
