"""Reads the configurations of Vault Agent, consul-template and the Kubernetes injectors."""
