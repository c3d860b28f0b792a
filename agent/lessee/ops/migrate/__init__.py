"""`lessee import`: converts a Vault Agent, consul-template or injector configuration."""
