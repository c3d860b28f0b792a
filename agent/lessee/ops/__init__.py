"""The operators' commands, a package for each feature; the sidecar imports none of them."""
