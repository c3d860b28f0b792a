"""Saves a server's data to encrypted archives, verifies them, and restores them."""
