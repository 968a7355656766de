"""What manager and agent agree on: words, messages, key names, settings. Imports neither side and does no I/O."""
