"""Looks at an environment: each check connects to the real thing, as its apps would."""
