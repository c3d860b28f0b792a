"""What `lessee check` prints of a configuration that is right."""
