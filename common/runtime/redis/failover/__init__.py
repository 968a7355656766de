"""A Redis that fails over: finds the server that takes writes, and makes connections to it."""
