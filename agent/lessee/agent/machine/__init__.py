"""The policy: one pure step from a state and an event to the next state and what is to be done."""
