"""A copy of the form of a mirrored record, made by deploy/vendor.py. Change the original."""
