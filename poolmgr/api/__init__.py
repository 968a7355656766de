"""The manager's HTTP API: one file per resource. It asks and answers; it decides nothing."""
