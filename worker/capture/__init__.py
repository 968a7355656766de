"""Recordings: a tab beside the meeting's makes them, or an ffmpeg of what the worker's display shows. This VM's disk
buffers them, the store gets them while the meeting runs. Afterwards one file of each kind is made.
"""
