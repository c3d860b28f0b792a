"""The destinations to which the monitor publishes changes."""
