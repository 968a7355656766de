"""Commands about bots and the jobs they came of."""
