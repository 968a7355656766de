"""Pages of Google Meet, Zoom, Teams and Jitsi to test bots on, under the platforms' own host names.

They are written from what is publicly known of the real pages (docs/sites.md says of which nothing was compared with
the live platform). A `Site` serves them on this machine; a `Scenario` says what a meeting is like, and how its page
misbehaves; cases.py lists scenarios with the reason that a bot has to end with. They are no copies: what they
share with the real pages is what a bot can recognise them by.
"""
