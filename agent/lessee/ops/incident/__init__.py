"""Responds to a leak: finds who has access, revokes it, rotates credentials, and records each step."""
