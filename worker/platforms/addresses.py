"""Makes the address at which a browser joins, from a tidied link (common/links). Pure: text in, text out.

Passcodes and tokens stay byte for byte as they are in the link. Every function takes the link, the bot's name, and
whether the browser is signed in to the platform.
"""

import json
import re
from typing import Final
from urllib.parse import quote, urlsplit

_ZOOM_CLIENT: Final = "https://app.zoom.us"
_ZOOM_NUMBER: Final = re.compile(r"/[jsw]/([0-9]+)")
_TEAMS_DEEP: Final = "/l/meetup-join/"
_JITSI_CONFIG: Final = (
    ("config.startWithAudioMuted", True),
    ("config.startWithVideoMuted", True),
    ("config.prejoinConfig.enabled", False),
    ("config.disableInitialGUM", True),
    ("config.p2p.enabled", False),
    ("config.requireDisplayName", False),
    ("config.deeplinking.disabled", True),
    ("config.analytics.disabled", True),
)
_JITSI_NEVER: Final = frozenset({"config.iAmRecorder", "config.iAmSipGateway"})
"""These options would hide the bot from the other participants, and are removed from links."""


def google_meet(url: str, bot_name: str, *, signed_in: bool = False) -> str:
    """The link, with the page's language set to English."""
    del bot_name, signed_in
    parts = urlsplit(url)
    kept = [part for part in parts.query.split("&") if part and not part.startswith("hl=")]
    return parts._replace(query="&".join([*kept, "hl=en"])).geturl()


def zoom(url: str, bot_name: str, *, signed_in: bool = False) -> str:
    """The web client's page for the meeting's number. It skips the page that would open Zoom's own program.

    The link itself stays where the number alone is not enough: with a registrant's token, for an event, for a personal
    link name, or on another company's host. Meetings on zoomgov.com stay on that host.
    """
    del bot_name, signed_in
    parts = urlsplit(url)
    host = parts.hostname or ""
    values = {name: value for name, _, value in (part.partition("=") for part in reversed(parts.query.split("&")))}
    number = _ZOOM_NUMBER.fullmatch(parts.path)
    if number is None or values.get("tk") or host == "events.zoom.us":
        return url
    if _is_below(host, "zoom.us") or _is_below(host, "zoom.com"):
        client = _ZOOM_CLIENT
    elif _is_below(host, "zoomgov.com"):
        client = f"https://{host}"
    else:
        return url
    passcode = values.get("pwd") or values.get("password")
    return f"{client}/wc/{number[1]}/join" + (f"?pwd={passcode}" if passcode else "")


def teams(url: str, bot_name: str, *, signed_in: bool = False) -> str:
    """The web client on the link's own host, as a guest unless signed in. The host says which of Microsoft's clouds it
    is. A short link (`/meet/`) stays as it is: its page leads to the web client.
    """
    del bot_name
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    if parts.path.startswith(_TEAMS_DEEP):
        route = parts.path + (f"?{parts.query}" if parts.query else "")
    elif parts.fragment.startswith((_TEAMS_DEEP, "/meet/")):
        route = parts.fragment
    else:
        return url
    path, _, query = route.partition("?")
    kept = [part for part in query.split("&") if part and not part.startswith("anon=")]
    query = "&".join(kept if signed_in else [*kept, "anon=true"])
    return f"{origin}/v2/?meetingjoin=true#{path}" + (f"?{query}" if query else "")


def jitsi(url: str, bot_name: str, *, signed_in: bool = False) -> str:
    """The room, with options in the fragment: muted, with the bot's name, without the page before the meeting. A server
    may ignore them. Other options of the link stay, except those that would hide the bot.
    """
    del signed_in
    parts = urlsplit(url)
    ours = {name: json.dumps(value) for name, value in _JITSI_CONFIG}
    ours["userInfo.displayName"] = quote(json.dumps(bot_name, ensure_ascii=False), safe="")
    theirs = [part for part in parts.fragment.split("&") if part]
    kept = [part for part in theirs if part.partition("=")[0] not in ours.keys() | _JITSI_NEVER]
    return parts._replace(fragment="&".join([*kept, *(f"{name}={value}" for name, value in ours.items())])).geturl()


def _is_below(host: str, suffix: str) -> bool:
    return host == suffix or host.endswith(f".{suffix}")
