"""What both programs share: words and messages, meeting links, settings, and what a program needs to run."""
