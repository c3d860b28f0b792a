"""What a read socket answers, and to whom; it imports nothing that reads or sends."""
