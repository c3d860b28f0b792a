"""Derives and evaluates Vault policies without asking a server."""
