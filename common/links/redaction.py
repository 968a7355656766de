"""Hides the secrets of a link for logs and messages. It needs no knowledge of platforms."""

from urllib.parse import urlsplit


def redact(url: str) -> str:
    """Only scheme and host of the link, for logs. On most platforms the path alone gives access to the meeting."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "…"
    return f"{parts.scheme}://{parts.hostname}/…" if parts.hostname else "…"
