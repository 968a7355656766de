"""The command line: one file per command group, in rooms by what it is about. It asks Redis through the store and
prints; it decides nothing.
"""
