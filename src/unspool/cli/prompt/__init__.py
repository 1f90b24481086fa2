"""What is asked: the words, what goes with them, and where they come from."""
