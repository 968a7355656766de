"""What is sent to a client while a bot is in its meeting: its sound, and what is said. Whatever becomes of it, the
meeting goes on.
"""
