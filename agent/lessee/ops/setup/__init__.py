"""Looks at a server and makes it as `lessee setup` wants it."""
