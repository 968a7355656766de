"""What was seen from outside, and whether every promise was kept."""
