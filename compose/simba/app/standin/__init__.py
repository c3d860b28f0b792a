"""A stand-in for Simba: the libraries and the structure with which it uses its secrets."""
