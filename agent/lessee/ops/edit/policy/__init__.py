"""Decides what `lessee set` writes, and when an app works with it. It does no input or output."""
