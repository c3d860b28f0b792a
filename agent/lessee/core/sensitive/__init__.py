"""Recognizes sensitive values: by the names of their keys, by known key formats, and by weakness."""
