"""Live feeds: sends a meeting's sound and its transcript to a client while the bot is in the meeting. If a feed fails,
the meeting goes on.
"""
