"""`lessee dev`: an OpenBao server for development that keeps its data, on this machine and for one user."""
