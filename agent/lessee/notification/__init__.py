"""Tells an app of its new files, and looks whether it works with them."""
