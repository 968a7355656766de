"""A fleet of booted machines on a network of their own, and what is done to it, scene by scene."""
