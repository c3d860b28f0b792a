"""Sources of secrets besides Vault: each reads paths of one kind, for a machine that treats it as a KV v1 mount."""
