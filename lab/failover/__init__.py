"""A Redis that fails over under managers and agents: what is lost, who is in a meeting twice, how long it takes."""
