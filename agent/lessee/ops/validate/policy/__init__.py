"""Evaluates the findings of `lessee validate`, without access to other systems."""
