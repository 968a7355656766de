"""Copies session records into a table elsewhere, behind the status stream, in a process of its own (docs/mirror.md)."""
