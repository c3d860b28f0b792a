"""What people see of a status: the same as a page and in a terminal."""
