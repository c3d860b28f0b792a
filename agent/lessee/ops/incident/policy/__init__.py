"""Decides after a leak which policies have access, what is revoked and rotated in which order, and what is manual."""
