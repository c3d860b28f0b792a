"""What other agents are configured by."""
