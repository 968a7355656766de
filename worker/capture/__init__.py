"""Recordings: a tab beside the meeting's records it, this VM's disk buffers it, the store gets it while the meeting
runs. Afterwards one file is made of it.
"""
