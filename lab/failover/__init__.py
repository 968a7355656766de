"""Tries a failover of Redis with managers and agents: what is lost, who is in a meeting twice, how long it takes."""
