"""One bot in one meeting: between its page and what is decided about it, and what is kept of a failure."""
