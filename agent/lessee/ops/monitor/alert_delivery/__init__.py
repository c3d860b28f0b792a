"""Tells people of alerts: over HTTP, to Alertmanager, and by mail."""
