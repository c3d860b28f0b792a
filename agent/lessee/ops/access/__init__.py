"""The Vault policies that a configuration needs, and what a given policy allows."""
