"""Where changes are published."""
