"""`lessee audit report`."""
