"""Reading Vault's audit log as it is written, and telling what is seen in it."""
