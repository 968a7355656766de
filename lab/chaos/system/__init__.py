"""The system that is broken: a stage with the real parts, the clients that load it, and what the machine allows."""
