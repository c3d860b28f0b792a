"""Pushes an app's published files to systems that keep secrets of their own."""
