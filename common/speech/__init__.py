"""Speech to text: who can be asked for it, over the network or on this machine, and what comes of it."""
