"""Decides after a leak: who may read, what is struck, in which order, and what is left for people."""
