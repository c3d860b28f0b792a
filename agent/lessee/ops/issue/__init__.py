"""`lessee issue`: hands agents of this machine a response-wrapped secret_id, by what the kernel says of who asks."""
