"""The messages between the agent and its state machine: app specs, commands and events."""
