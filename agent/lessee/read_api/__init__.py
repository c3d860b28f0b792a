"""The read socket: an app reads what its templates may read, and programs that speak Vault's API do so unchanged."""
