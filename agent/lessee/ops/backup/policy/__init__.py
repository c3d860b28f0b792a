"""The contents of a backup, and the plans to restore it, without I/O."""
