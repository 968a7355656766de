"""What the command lines of both programs share. It does not import Redis, so that commands start quickly."""
