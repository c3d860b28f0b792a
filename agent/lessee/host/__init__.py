"""Effects without decisions: the container lessee lives in."""
