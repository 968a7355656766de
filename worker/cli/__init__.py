"""The command line of the agent. Each command is imported when it is called."""
