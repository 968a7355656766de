"""Pages of Google Meet, Zoom, Teams and Jitsi to test bots on, under the platforms' own host names.

They are written from what is publicly known of the real pages; docs/sites.md says what was never compared with the live
platform. A `Site` serves them on this machine. A `Scenario` says what a meeting is like, and how its page misbehaves.
cases.py lists scenarios with the reason that a bot has to end with. The pages are no copies: they have only what a bot
needs to recognise them.
"""
