"""What `lessee rotate` does beside rotating once."""
