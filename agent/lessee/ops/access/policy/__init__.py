"""Derives and evaluates Vault policies without a server."""
