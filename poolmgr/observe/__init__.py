"""What a manager shows of itself: metrics, and its log of what was decided."""
