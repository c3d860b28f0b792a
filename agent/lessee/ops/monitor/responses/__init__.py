"""Acts on alerts: within a budget, on what Vault itself says, and with a record of each step."""
