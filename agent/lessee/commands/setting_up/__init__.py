"""What `lessee setup` does beside setting up environments."""
