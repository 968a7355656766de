"""Speech that a machine can read without a model: tones instead of words, and servers with the providers' protocols
that recognise them.
"""
