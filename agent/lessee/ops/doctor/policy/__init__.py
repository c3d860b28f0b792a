"""What a report may have: pure."""
