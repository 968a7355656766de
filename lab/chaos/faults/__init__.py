"""The faults: what they are, when they come, and how a round of them is written down."""
