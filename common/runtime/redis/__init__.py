"""The Redis client, Lua scripts and their calls, and what finds the primary of a Redis that fails over."""
