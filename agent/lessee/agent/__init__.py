"""The agent: it takes events, steps its state machines, and passes their commands to the effects."""
