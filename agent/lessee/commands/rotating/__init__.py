"""What `lessee rotate` does, by its options."""
