"""What is decided about one bot. Pure: (state, observation, now) -> (state, actions); no I/O, clock, chance or log."""
