"""Auth methods: how the agent logs in to Vault."""
