"""`lessee scan`: finds secrets in the files and the git history of a project, without printing their values."""
