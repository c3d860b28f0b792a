"""The trail of acts on the disk."""
