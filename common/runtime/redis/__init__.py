"""The Redis client, Lua scripts and their calls, and the search for the primary of a Redis that fails over."""
