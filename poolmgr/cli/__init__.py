"""The command line: one file per command group. It asks Redis through the store and prints; it decides nothing."""
