"""Checks input from outside: pushed jobs, and the addresses that they name."""
