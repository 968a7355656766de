"""What leaves this VM, and what outlives the agent: Redis, the journal on disk, bundles on their way out."""
