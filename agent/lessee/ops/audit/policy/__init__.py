"""Builds the rows of an audit report and formats them."""
