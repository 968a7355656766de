"""The manager: takes jobs from Redis, gives each to a warm worker, and keeps every VM of the fleet warm."""
