"""The messages between the state machine and the effects: app specs, commands and events."""
