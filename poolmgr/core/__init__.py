"""The core makes all decisions: events in, decisions out. Pure: no asyncio, clock, chance, Redis or log."""
