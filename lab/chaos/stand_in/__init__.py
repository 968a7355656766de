"""A stand-in for Chromium that the real agent launches. It is so much lighter that a fleet fits on a small machine."""
