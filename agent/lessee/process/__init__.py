"""Runs programs: the child of `lessee exec`, and commands of the operator."""
