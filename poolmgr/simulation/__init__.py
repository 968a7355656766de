"""What would happen: the real core under a virtual clock, with a fleet and traffic that are made up or recorded.

Pure as the core is, but for chance, which is handed in as a `random.Random`. It holds no rule of the pool's.
"""
