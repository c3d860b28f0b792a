"""Obeys core.emergency at a server: looks, strikes, looks again, and keeps the record."""
