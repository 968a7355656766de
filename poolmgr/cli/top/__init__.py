"""`top`: the fleet on a full screen. What is seen and what a key does is decided without a terminal, in screen.py."""
