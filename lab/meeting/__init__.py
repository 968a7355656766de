"""A small meeting room: a page, a lobby and real WebRTC between browsers.

It is the project's demo meeting, the meeting of its end-to-end tests, and the first platform a bot adapter
was written for. It refuses to be a product: no accounts, no recording, no media server, nothing kept on disk.
"""
