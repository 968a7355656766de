"""The agent: one process on each VM that owns its browsers and drives them through meetings."""
