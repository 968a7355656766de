"""Thin loops: each reads, asks the pool, and applies its decisions. Only the core decides."""
