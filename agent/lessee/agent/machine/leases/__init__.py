"""Leases of dynamic secrets: issuance, renewal, release, and which consumers may still use one."""
