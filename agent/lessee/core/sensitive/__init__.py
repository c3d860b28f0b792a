"""Sensitive values: recognized by their keys' names, by known key formats, and by their occurrence elsewhere."""
