"""Access to the machine: files, directories, processes, clocks, HTTP and the terminal."""
