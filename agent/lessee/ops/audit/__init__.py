"""`lessee audit`: verifies the audit trail and reports on a period of it."""
