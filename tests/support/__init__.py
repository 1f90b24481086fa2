"""What the tests of all packages share: a scripted server, the command as a process, terminals, journals, and how long to wait."""
