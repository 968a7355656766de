"""Runs the real core on a virtual clock, with a simulated fleet and simulated or recorded traffic.

Pure like the core; randomness is handed in as a `random.Random`. It contains no rule of the pool.
"""
