"""The one door to Vault: the only importer of hvac."""
