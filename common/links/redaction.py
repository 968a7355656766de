"""Hides the secrets of a link for logs and messages. Apart from links.py, because hiding needs no platform."""

from urllib.parse import urlsplit


def redact(url: str) -> str:
    """The link without what lets one in, for logs: on most platforms the path alone is the key to the meeting."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "…"
    return f"{parts.scheme}://{parts.hostname}/…" if parts.hostname else "…"
