"""Copies of the reader of meeting links, made by deploy/vendor.py. Change the originals."""
