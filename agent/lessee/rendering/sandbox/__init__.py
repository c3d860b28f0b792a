"""The Jinja sandbox: bounded, with allow-lists, and with values separate from text."""
