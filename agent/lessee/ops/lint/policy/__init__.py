"""The rules of `lessee check`, and the formats of its report."""
