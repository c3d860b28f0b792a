"""Secrets engines: KV reads, and leases of dynamic secrets."""
