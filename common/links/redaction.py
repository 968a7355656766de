"""Hides the secrets of a link for logs and messages. Apart from links.py, because hiding needs no platform."""

from urllib.parse import urlsplit


def redact(url: str) -> str:
    """The link without its secrets, for logs. On most platforms the path alone lets one in."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "…"
    return f"{parts.scheme}://{parts.hostname}/…" if parts.hostname else "…"
