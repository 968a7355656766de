"""The manager's metrics, and its log of decisions."""
