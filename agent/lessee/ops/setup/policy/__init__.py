"""What `lessee setup` wants, what is there, and the steps from the one to the other."""
