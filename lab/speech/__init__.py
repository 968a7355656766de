"""Speech that a machine can read without a model: words that are tones, and servers that write down what they hear of
them, in the protocols of providers.
"""
