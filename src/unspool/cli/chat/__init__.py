"""What `unspool chat` is made of: what is typed, the commands, the conversation, and the terminal while an answer streams."""
