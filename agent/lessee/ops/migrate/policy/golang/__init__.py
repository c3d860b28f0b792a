"""Parses the templates of Go's text/template."""
