"""Templates of Jinja that write what those of Go do."""
