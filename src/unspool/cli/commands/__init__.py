"""The commands, one module each: parse, call, return the exit code. What several of them share stands one floor up."""
