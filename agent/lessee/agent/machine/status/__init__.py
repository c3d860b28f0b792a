"""What the state machine says about itself: the status document, its problems, and how a one-shot command ended."""
