"""What the state machine reports: the status document, counters and problems."""
