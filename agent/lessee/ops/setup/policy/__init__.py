"""The desired state of a server, its actual state, and the plan from one to the other."""
