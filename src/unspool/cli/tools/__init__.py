"""Tools that the command runs: where they come from, how they are run, and the loop of answers around them."""
