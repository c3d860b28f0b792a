"""The audit trail: signed records of what the agent, the rotator and operators did."""
