"""`lessee monitor`: follows Vault's audit logs, publishes changes, and sends alerts."""
