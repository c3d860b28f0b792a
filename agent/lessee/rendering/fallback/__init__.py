"""Fallback files for a start without Vault."""
