"""Validates an environment: each check connects to the real systems, as the apps would."""
