"""What a server for development is configured with, what is exported to a shell, and what a copy leaves to a person."""
