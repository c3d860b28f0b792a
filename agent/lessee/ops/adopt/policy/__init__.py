"""What `lessee adopt` finds in a Compose project, and what it will do: decided without touching anything."""
