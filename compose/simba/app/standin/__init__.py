"""Stands for Simba: its libraries, and modules of the shape that its own have, so far as secrets reach them."""
