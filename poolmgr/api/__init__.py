"""The manager's HTTP API. It asks and answers; it decides nothing. Each request passes gateway.py to its operation."""
