"""Commands about bots and their jobs."""
