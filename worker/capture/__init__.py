"""What a bot's meeting sounds like: recorded in a tab of its own, spooled on disk, in the store while the meeting runs,
and one file afterwards.
"""
