"""The command line: each file parses one noun's commands, calls one function, prints what comes back."""
