"""The documents, and `docs.generate`, which writes those of them that are made from the code."""
