"""Derives the Vault policies that a configuration needs, and evaluates given policies."""
