"""`lessee set`: writes one key of a secret, and waits for the apps that read it."""
