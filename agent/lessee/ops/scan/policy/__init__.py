"""Decides which values in a text are secrets, and how they are reported. It does no input or output."""
