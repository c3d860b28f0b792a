"""Judges what `lessee validate` finds; it looks at nothing itself."""
