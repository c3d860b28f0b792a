"""Decides what a drill plays, and what its apps noticed, without a server."""
