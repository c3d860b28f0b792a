"""Publishes an app's files, reads them back, and records what was published, for the next start."""
