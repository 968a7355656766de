"""What is said in a meeting, in words: read off its page while it runs."""
