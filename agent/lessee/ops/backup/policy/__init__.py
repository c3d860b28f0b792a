"""What a backup of Vault holds, and what is to be done with it; it touches no server and no file."""
