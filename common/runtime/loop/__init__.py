"""Watches the event loop: how late it is, what holds it, and whether every loop of the program turns."""
