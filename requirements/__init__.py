"""The locks, what reads them, and the way uv is called with them. No address of a package index stands here."""
