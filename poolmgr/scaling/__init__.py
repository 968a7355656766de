"""Decides how many VMs the fleet is to have, which to ask for, and which to give back.

Pure: no clock, chance, I/O or log. A loop of the leader and the simulator call it and carry its actions out.
"""
