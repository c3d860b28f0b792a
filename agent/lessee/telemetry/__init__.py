"""Logs, metrics exposition and traces."""
