"""Fixes of findings: the changes of files, their splices, and their diff."""
