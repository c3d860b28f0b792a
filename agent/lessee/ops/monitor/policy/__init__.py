"""What the audit log of Vault means, and what follows from it."""
