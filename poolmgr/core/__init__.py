"""Everything that chooses. Pure: no asyncio, clock, chance, Redis or log; events in, decisions out."""
