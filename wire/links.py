"""Recognises a meeting link: which platform it is of, and where the browser is to go. Never logs or rewrites a secret.

Refuses everything that is not certainly a meeting: look-alike hosts, credentials in the link, odd schemes.
"""

import re
from collections.abc import Collection
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

MAX_LINK_LENGTH: Final = 4096

# Hosts by platform (suffix match on whole labels); facts/platforms: 1.1, 2.1, 3.1, 4.1.
_KNOWN_HOSTS: Final = {
    "google_meet": ("meet.google.com",),
    "zoom": ("zoom.us", "zoom.com", "zoomgov.com"),
    "teams": ("teams.microsoft.com", "teams.live.com", "teams.cloud.microsoft", "teams.microsoft.us"),
    "jitsi": ("meet.jit.si", "8x8.vc"),
}
PLATFORMS: Final = (*_KNOWN_HOSTS, "room")

_ROOM_PATH: Final = re.compile(r"/r/[a-z0-9][a-z0-9-]{0,63}")


class MeetingLink(NamedTuple):
    platform: str
    url: str


class BadLinkError(ValueError):
    """The text is no meeting link; the message says what to change."""


def recognise(text: str, room_hosts: Collection[str] = (), jitsi_hosts: Collection[str] = ()) -> MeetingLink:
    """The meeting that `text` links to. Whether an agent has an adapter for its platform is not known here.

    `room_hosts`, `jitsi_hosts`: hosts (`name` or `name:port`) that serve this project's own meeting room, or a Jitsi.
    Raises: BadLinkError.
    """
    text = text.strip()
    if len(text) > MAX_LINK_LENGTH:
        raise BadLinkError(f"the link is longer than {MAX_LINK_LENGTH} characters")
    if any(character.isspace() or not character.isprintable() for character in text) or "\\" in text:
        raise BadLinkError("the link contains spaces, control characters or backslashes")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:  # whose text quotes the link, perhaps a password in it
        raise BadLinkError("the link is not a URL: its host or port cannot be read") from error
    if parts.scheme not in ("http", "https"):
        raise BadLinkError("the link does not begin with https://")
    if not host:
        raise BadLinkError("the link names no host")
    if parts.username is not None or parts.password is not None:
        raise BadLinkError("the link carries a user name or password before the host")
    names = {host, f"{host}:{port}"}
    if not names.isdisjoint(room_hosts):
        return _room(text, parts)
    platform = "jitsi" if not names.isdisjoint(jitsi_hosts) else _platform_of(host)
    if platform is None:
        raise BadLinkError(
            f"unknown platform: {host[:80]!r} is not a meeting host"
            " (hosts of your own go in [meetings] room_hosts or jitsi_hosts)"
        )
    if platform != "jitsi" and (parts.scheme != "https" or port not in (None, 443)):
        raise BadLinkError(f"the link is to {platform}, but not by https on its usual port")
    if parts.path.strip("/") == "" and not parts.query:
        raise BadLinkError(f"the link is to {platform}, but to no meeting there")
    return MeetingLink(platform, text)


def _room(text: str, parts: SplitResult) -> MeetingLink:
    if not _ROOM_PATH.fullmatch(parts.path):
        raise BadLinkError("the link is to a meeting room host, but its path is not /r/NAME")
    return MeetingLink("room", text)


def _platform_of(host: str) -> str | None:
    for platform, suffixes in _KNOWN_HOSTS.items():
        if any(host == suffix or host.endswith("." + suffix) for suffix in suffixes):
            return platform
    return None


def redact(url: str) -> str:
    """The link without what lets one in, for logs: on most platforms the path alone is the key to the meeting."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "…"
    return f"{parts.scheme}://{parts.hostname}/…" if parts.hostname else "…"
