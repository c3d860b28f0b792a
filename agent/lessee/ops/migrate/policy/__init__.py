"""Converts the configuration of Vault Agent, consul-template or an injector to lessee.yaml and Jinja templates."""
