"""Reads for people and programs: bots, the fleet, evidence, and whether the records agree. Most of it only reads."""
