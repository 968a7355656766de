"""What may be said of a link in logs and messages. By itself, because whoever only hides links need not know any."""

from urllib.parse import urlsplit


def redact(url: str) -> str:
    """The link without what lets one in, for logs: on most platforms the path alone is the key to the meeting."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "…"
    return f"{parts.scheme}://{parts.hostname}/…" if parts.hostname else "…"
