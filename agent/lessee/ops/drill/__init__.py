"""Plays an outage, a leak, a rotation and a restore with real agents, and measures them against objectives."""
