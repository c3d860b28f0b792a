"""The commands of the sidecar, one module for each."""
