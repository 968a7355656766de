"""What manager and agent say to each other: words, messages, codec, key names. Pure: no I/O, and neither side."""
