"""The one door to Vault."""
