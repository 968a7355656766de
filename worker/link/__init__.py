"""What this VM sends, and what outlives the agent: Redis, the journal on disk, evidence that waits to be sent."""
