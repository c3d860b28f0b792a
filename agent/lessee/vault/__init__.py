"""All communication with Vault."""
