"""What manager and agent send each other: words, messages, codec, key names. Pure."""
