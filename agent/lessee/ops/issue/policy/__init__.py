"""Who may have which role: pure decisions of `lessee issue`."""
