"""Changes a credential in the system that owns it, and in Vault."""
