"""Where the browser goes to join: from a tidied link (common/links) the platform's page for a browser. Pure text.

Passcodes and tokens stay byte for byte as they are in the link. All take the bot's name, and whether the browser is
signed in to the platform. Sources: facts on the platforms' pages, 1.1 Google Meet, 2.1 Zoom, 3.1 Teams, 4.1 Jitsi.
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
"""They hide a participant from the others. A bot is seen."""


def google_meet(url: str, bot_name: str, *, signed_in: bool = False) -> str:
    """In English, whatever the browser's own language."""
    del bot_name, signed_in
    parts = urlsplit(url)
    kept = [part for part in parts.query.split("&") if part and not part.startswith("hl=")]
    return parts._replace(query="&".join([*kept, "hl=en"])).geturl()


def zoom(url: str, bot_name: str, *, signed_in: bool = False) -> str:
    """The web client's page for the meeting's number, past the one that would open Zoom's own program.

    The link itself where that would lose something: with a registrant's token, of an event or somebody's own room, on a
    host of another name. Meetings of the government's cloud are on its own hosts.
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
    """The web client on the link's own host (clouds differ by it), as a guest unless signed in.

    A short link (`/meet/`) stays as it is: its page knows the way.
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
    """The room, configured by its hash: muted, named, without the page before the meeting. The server may ignore it.

    What else the link configures stays, but for what would hide the bot from the others.
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
