"""Leases of dynamic secrets: issuance, renewal, release, and which readers still use one."""
