"""The manager's own page: the fleet as it is, for people. Reads what the store shows, and decides nothing."""
