"""`lessee check`: finds what is wrong with a configuration without asking Vault."""
