"""The status of a service: its HTTP server, pages, metrics and client."""
