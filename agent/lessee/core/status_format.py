"""The format of status documents, which agent, rotator and monitor share."""

FORMAT = 2
"""It grows when a field is removed, renamed, or gets another meaning; not with a new field. Format 1 is that of 0.1.0,
which does not name it."""
