"""Effects of `lessee setup`: reads a server, and changes it to the configured state."""
