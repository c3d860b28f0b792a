"""Notifies an app of its new files, and probes whether it is ready with them."""
