"""What both programs need in order to run: reading settings, logging, a Redis client, waiting. Decides nothing."""
