"""Runs programs: the child of `lessee exec`, and the commands that operators configure."""
