"""From the configuration of Vault Agent, consul-template or the injector to lessee.yaml and Jinja templates."""
