"""`lessee doctor`: a report of this installation for a bug report, without values."""
