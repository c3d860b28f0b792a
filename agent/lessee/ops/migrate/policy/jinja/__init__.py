"""Translates Go templates to Jinja templates with the same output."""
