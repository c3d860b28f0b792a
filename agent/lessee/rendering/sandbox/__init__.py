"""The Jinja that templates run in: bounded, with allow-lists, and with values kept apart from text."""
