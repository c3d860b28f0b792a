"""The state machine of a relayed MCP session, without I/O."""
