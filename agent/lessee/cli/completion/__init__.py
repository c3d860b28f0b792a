"""Scripts that complete the command line in a shell, one module for each shell, from the parsers alone."""
