"""Webhooks: what is told of a bot, how it is signed, where it may go, one attempt, and who is next."""
