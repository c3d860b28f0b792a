"""What the entries of the audit log mean, and which changes and alerts follow from them."""
