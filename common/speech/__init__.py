"""Speech to text: the providers, over the network or on this machine, and what is made of their words."""
