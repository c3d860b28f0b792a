"""Decides what a push creates, replaces and removes."""
