"""Tools that the command runs: where they come from, how they are run, and the loop of answers around them."""

#: How the name of a source begins that is an MCP server of the configuration.
MCP = "mcp:"
#: Characters of a result that a model gets: more is no use to it.
LONGEST = 1 << 20
