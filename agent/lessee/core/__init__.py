"""Domain types that all packages share: secrets, leases, failures, errors and redaction."""
