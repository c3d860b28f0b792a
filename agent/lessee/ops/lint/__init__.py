"""Finds problems in a configuration, its templates and Compose files without contacting Vault."""
