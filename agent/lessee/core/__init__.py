"""Decisions without effects: nothing in here asks for the time, opens a file or sends a byte."""
