"""What the state machine exchanges with the agent: commands, events and app specs."""
