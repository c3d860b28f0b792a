"""Checks the Compose files that the apps of a configuration run in."""
