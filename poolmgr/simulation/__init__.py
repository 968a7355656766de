"""The real core on a virtual clock, with a simulated fleet and simulated or recorded traffic.

As pure as the core, except for chance, which is handed in as a `random.Random`. It holds no rule of the pool's.
"""
