"""Changing a credential in the system that owns it: what is known, what to do next, and when."""
