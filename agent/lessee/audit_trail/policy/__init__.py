"""The audit trail's format: which actions it records, its chained and signed entries, and their verification."""
