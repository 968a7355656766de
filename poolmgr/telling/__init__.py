"""What is told of bots and their ends to people, in words, and what is left out of it. On a terminal or a page."""
