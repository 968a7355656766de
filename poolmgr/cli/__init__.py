"""The command line: one file per command group. Asks Redis through the store and prints; decides nothing."""
