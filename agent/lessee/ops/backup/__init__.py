"""Saves a server's data to encrypted archives, tries them, and brings them back."""
