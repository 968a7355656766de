"""What keeps a bot from joining, found before it does: checks as data, and those that both programs share."""
