"""Thin supervised loops: each loads, asks the pool, applies. What is to be done is decided in core and nowhere else."""
