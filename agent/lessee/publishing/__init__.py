"""Publishes an app's files, reads them back, and remembers across restarts what was published."""
