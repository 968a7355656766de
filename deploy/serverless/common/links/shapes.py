"""What a link to a meeting looks like on each platform, and how it is tidied. Pure text; links.py checks the host.

Passcodes and tokens stay byte for byte as they were written.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any, NamedTuple
from urllib.parse import SplitResult, quote

from common.links.text import BadLinkError, unquoted
from common.links.wrappers import decoded, parameter

# Parameters that only say where a link was clicked.
_TRACKING_NAMES = r"utm_\w{1,64}|fbclid|gclid|msclkid|mc_[ce]id|_hs\w{1,64}|_x_zm_\w{1,64}|mcastsid|mcasctx"
_TRACKING = re.compile(rf"(?:{_TRACKING_NAMES})(?:=|\Z)", re.IGNORECASE)
_ENCODED_SLASH = re.compile(r"%(?:2f|5c|00)", re.IGNORECASE)
_MOST_DECODED = 3  # levels of encoding that mail programs and launchers were seen to add

# Passcodes and tokens, and the characters that they may have. Anything else there is text beside the link.
_SECRETS = frozenset({"pwd", "password", "tk", "zak", "p", "jwt"})
_NO_SECRET = re.compile(r"[^A-Za-z0-9._~+/=@*!$%-]")
_NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")

_MEET_CODE = re.compile(r"[a-z]{3}-[a-z]{4}-[a-z]{3}")
# A name that looks like a cut code, or like a code with text behind it, is not taken for a nickname.
_MEET_BROKEN_CODE = re.compile(r"[a-z]{3}-[a-z]{1,4}(?:-[a-z]{0,2})?|[a-z]{3}-[a-z]{4}-[a-z]{3}[a-z0-9-]{1,40}")
_MEET_NICKNAME = re.compile(r"[a-z0-9][a-z0-9-]{3,38}[a-z0-9]")
_MEET_PAGES = frozenset({"about", "download", "getalink", "landing", "lookup", "unsupported", "whoops"})

_ZOOM_NUMBER = re.compile(r"/(?:(?:j|s|w|wc/join)/([0-9]{8,11})|wc/([0-9]{8,11})(?:/(?:join|start))?)/?")
_ZOOM_CUT_OFF = re.compile(r"/(?:j|s|w|wc/join)(?:/[0-9]{0,7})?/?")
_ZOOM_EVENT = re.compile(r"(?:/[A-Za-z0-9_.~-]{1,512}){2,6}/?")
_ZOOM_VANITY = re.compile(r"/my/([A-Za-z0-9][A-Za-z0-9._-]{0,99})/?")
_ZOOM_REGISTRATION = re.compile(r"/(?:webinar|meeting)/register(?:/.{0,4096})?")
# Passcodes as Zoom makes them: today 30 characters and a key number, earlier base64 of base64.
_ZOOM_WHOLE = re.compile(r"pwd=(?:[A-Za-z0-9_-]{30}\.1|[A-Za-z0-9]{30}09)")

_TEAMS_DEEP = re.compile(r"/l/meetup-join/([^/?#]+)(?:/([0-9]*))?/?(?:\?([^#]*))?(?:#.*)?")
_TEAMS_SHORT = re.compile(r"/meet/([0-9]{10,15})/?(?:\?([^#]*))?(?:#.*)?")
_TEAMS_APP = frozenset({"/", "/_", "/_/", "/v2", "/v2/"})
TEAMS_LAUNCHER = re.compile(r"/dl/launcher(?:/launcher\.html)?/?")
_TEAMS_LIGHT = re.compile(r"/light-meetings/launch/?")
# Parameters that the launcher adds for itself, and `anon`, which addresses.py adds for guests.
_TEAMS_LAUNCHING = re.compile(
    rf"(?:{_TRACKING_NAMES}|anon|type|deeplinkid|directdl|mslaunch|enablemobilepage|suppressprompt|launchagent"
    r"|lightexperience)(?:=|\Z)",
    re.IGNORECASE,
)
_TEAMS_THREAD = re.compile(r"19:[A-Za-z0-9_.=+-]{6,200}@(?:thread\.[a-z0-9]{2,12}|unq\.gbl\.spaces)")
_UNSAFE = tuple((character, f"%{ord(character):02X}") for character in '"^`{|}')
_SAFE = "!#$%&'()*+,-./:;=?@[]~"

_MOST_NAME = 1024
_MOST_JSON = 1500
_MOST_OBJECTS = 8
_NO_NAME = re.compile(r"[,;:=\"]")
_JITSI_FILES = frozenset(
    {
        *("static", "libs", "images", "lang", "sounds", "fonts", "css", "http-bind", "xmpp-websocket", "colibri-ws"),
        *("robots.txt", "favicon.ico", "config.js", "external_api.js"),
    }
)


class Meeting(NamedTuple):
    """`url`: the tidied link. `identity`: equal for links to the same meeting of a platform.

    `secret`: the passcode or token. `whole`: its shape shows that no part of the link is missing.
    """

    url: str
    identity: str
    secret: str = ""
    whole: bool = False


def no_meeting(platform: str) -> BadLinkError:
    return BadLinkError(f"the link is to {platform}, but to no meeting there")


def _secret(query: str) -> str:
    """The passcodes and tokens in a link. Raises: BadLinkError where one is empty, cut, or has text added."""
    secrets: list[str] = []
    for part in query.split("&"):
        name, equals, value = part.partition("=")
        if name in _SECRETS:
            if not value and equals:
                raise BadLinkError(f"the link was cut off: its {name} is empty")
            if _NO_SECRET.search(value) or _NO_ESCAPE.search(value):
                raise BadLinkError(
                    f"it cannot be told where the link's {name} ends; send the link alone, as it was made"
                )
            secrets.append(f"{name}={value}")
    return "&".join(secrets)


def _tidy(query: str, dropped: re.Pattern[str] = _TRACKING) -> str:
    """The rest of it byte for byte."""
    return "&".join(part for part in query.split("&") if part and not dropped.match(part))


def _with_query(url: str, query: str) -> str:
    return f"{url}?{query}" if query else url


def google_meet(parts: SplitResult) -> Meeting:
    """A link with a code, or with the nickname that an organisation gave a meeting. Raises: BadLinkError."""
    path = parts.path.lower().removeprefix("/_meet")
    first, _, rest = path.strip("/").partition("/")
    if first == "lookup":
        raise BadLinkError(
            "the link is to google_meet, but only looks a name up for people of one organisation; send the one with"
            " the meeting's code, as in https://meet.google.com/abc-defg-hij"
        )
    if first == "new":
        raise BadLinkError("the link is to google_meet, but makes a new meeting for whoever opens it; send that one's")
    return _google_meet(path[1:].removesuffix("/"), rest)


def google_short(parts: SplitResult) -> Meeting:
    """A short link on g.co, which leads to meet.google.com. Raises: BadLinkError."""
    if not parts.path.startswith("/meet/"):
        raise no_meeting("google_meet")
    return _google_meet(parts.path[len("/meet/") :].removesuffix("/").lower(), "")


def _google_meet(name: str, rest: str) -> Meeting:
    if _MEET_BROKEN_CODE.fullmatch(name):
        raise BadLinkError(
            "the link is to google_meet, but its code is not whole, or has something behind it; a code is as long as"
            " abc-defg-hij"
        )
    is_code = _MEET_CODE.fullmatch(name) is not None
    if rest or name in _MEET_PAGES or not (is_code or _MEET_NICKNAME.fullmatch(name)):
        raise no_meeting("google_meet")
    return Meeting(f"https://meet.google.com/{name}", name, whole=is_code)


def zoom(parts: SplitResult, host: str) -> Meeting:
    """A link with a number, with the name of a personal room, or to events.zoom.us.

    A link with a registrant's token (`tk`) keeps all of its query: changed, it lets nobody in. Raises: BadLinkError.
    """
    path = parts.path
    query = parts.query if "tk=" in parts.query and parameter(parts.query, "tk") else _tidy(parts.query)
    if host == "events.zoom.us" and _ZOOM_EVENT.fullmatch(path):
        return Meeting(_with_query(f"https://{host}{path}", query), f"events{path.rstrip('/')}", _secret(query))
    if found := _ZOOM_NUMBER.fullmatch(path):
        identity = found[1] or found[2]
    elif found := _ZOOM_VANITY.fullmatch(path):
        identity = f"my/{found[1].lower()}"
    elif _ZOOM_REGISTRATION.fullmatch(path):
        raise BadLinkError(
            "the link is to zoom, but to a page to register on; register, and send the link that Zoom then gives you"
        )
    elif _ZOOM_CUT_OFF.fullmatch(path):
        raise BadLinkError(
            "the link is to zoom, but was cut off: the meeting's number (9 to 11 digits) is not all there"
        )
    else:
        raise no_meeting("zoom")
    secret = _secret(query)
    whole = _ZOOM_WHOLE.fullmatch(secret) is not None
    return Meeting(_with_query(f"https://{host}{path.removesuffix('/')}", query), identity, secret, whole)


def teams(parts: SplitResult, origin: str) -> Meeting:
    """A link on a host of Teams, in any of its shapes. Links of the launcher and of light meetings are made plain ones.

    Raises: BadLinkError.
    """
    meeting = _teams_light(parts, origin) or _teams_page(parts, origin)
    if meeting is None and "/l/meetup-join" in unquoted(unquoted(parts.path + parts.query + parts.fragment)):
        raise BadLinkError(
            "the link is to teams, but is not whole: to no meeting there without /l/meetup-join/19%3a…@thread.v2/0"
            "?context={…} to its closing brace"
        )
    if meeting is None:
        raise no_meeting("teams")
    return meeting


def teams_by_shape(parts: SplitResult, origin: str, *, labelled: bool) -> Meeting | None:
    """A Teams link on an unknown host: only one that is like Teams' in every part counts. None for other links.

    `labelled`: the host has "teams" in its name. On other hosts the shorter shapes may be anything.
    """
    if meeting := _teams_light(parts, origin):
        return meeting
    meeting = _teams_page(parts, origin) if labelled or parts.path.startswith("/l/meetup-join/") else None
    return meeting if meeting and (meeting.whole or meeting.secret) else None


def _teams_page(parts: SplitResult, origin: str) -> Meeting | None:
    place = origin
    if TEAMS_LAUNCHER.fullmatch(parts.path):
        target = decoded(parameter(parts.query, "url") or "", "/")
        route = target.partition("#")[2] or target
    elif parts.path in _TEAMS_APP and parts.fragment:
        route = parts.fragment
        path = "/v2/" if parts.path == "/v2" else parts.path
        place = f"{_with_query(origin + path, _tidy(parts.query))}#"
    else:
        route = _with_query(parts.path, parts.query)
    found = _teams_route(route)
    return found._replace(url=place + found.url) if found else None


def _teams_route(route: str) -> Meeting | None:
    """The part of a link that says which meeting it is, tidied; `url` is that part alone."""
    for _ in range(1 + _MOST_DECODED):
        if found := _TEAMS_SHORT.fullmatch(route):
            query = _tidy(found[2] or "", _TEAMS_LAUNCHING)
            return Meeting(_clean(_with_query(f"/meet/{found[1]}", query)), found[1], _secret(query))
        found = _TEAMS_DEEP.fullmatch(route)
        if found and "%25" not in route:
            return _teams_deep(found)
        route = unquoted(route)
    return None


def _teams_deep(found: re.Match[str]) -> Meeting | None:
    """A deep link up to its end: thread, message, and context up to its closing brace."""
    thread, message, query = unquoted(found[1]), found[2] or "", _tidy(found[3] or "", _TEAMS_LAUNCHING)
    if not _TEAMS_THREAD.fullmatch(thread) or not message or _ENCODED_SLASH.search(found[1]):
        return None
    context = _object(unquoted(parameter(query, "context") or ""))
    if not isinstance(context.get("Tid"), str) or not context["Tid"]:
        return None
    url = _clean(_with_query(f"/l/meetup-join/{found[1]}/{message}", query))
    return Meeting(url, f"{thread.lower()}/{message}", whole=True)


def _object(text: str) -> dict[str, Any]:
    """The JSON object in `text`; empty if it is none, or larger or deeper than any in a link."""
    if len(text) > _MOST_JSON or text.count("[") + text.count("{") > _MOST_OBJECTS:
        return {}
    try:
        found: Any = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}  # pyright: ignore[reportUnknownVariableType]  # as JSON is


def _teams_light(parts: SplitResult, origin: str) -> Meeting | None:
    """A light meeting. One at work has conversation, tenant, organizer and message; a personal one code and
    passcode.
    """
    if not _TEAMS_LIGHT.fullmatch(parts.path):
        return None
    coords = parameter(parts.query, "coords") or ""
    for _ in range(_MOST_DECODED):
        coords = unquoted(coords)
    try:
        at = _object(base64.b64decode(coords.translate(_STANDARD_BASE64).rstrip("=") + "==").decode())
    except ValueError:
        return None
    code, passcode = at.get("meetingCode"), at.get("passcode")
    if code:
        route = _with_query(f"/meet/{code}", f"p={quote(str(passcode), safe='')}" if passcode else "")
    else:
        context = json.dumps({"Tid": at.get("tenantId"), "Oid": at.get("organizerId")}, separators=(",", ":"))
        thread = quote(str(at.get("conversationId")), safe="")
        route = f"/l/meetup-join/{thread}/{at.get('messageId') or 0}?context={quote(context)}"
    found = _teams_route(route)
    return found._replace(url=origin + found.url, whole=True) if found else None


_STANDARD_BASE64 = str.maketrans("-_", "+/")


def _clean(text: str) -> str:
    """The text with only those characters encoded that a link may not have."""
    for character, encoded in _UNSAFE:
        text = text.replace(character, encoded)
    return text if text.isascii() else quote(text, safe=_SAFE)


def jitsi(parts: SplitResult, origin: str, *, most_segments: int = 2) -> Meeting:
    """A room, perhaps inside a tenant. The path stays as it was written; token and options in the fragment are kept.

    Raises: BadLinkError.
    """
    path = parts.path.removesuffix("/")
    if len(path) > _MOST_NAME:
        raise BadLinkError(f"the link is to jitsi, but to a room whose name is longer than {_MOST_NAME} characters")
    segments = path.split("/")[1:]
    if len(segments) > most_segments:
        raise no_meeting("jitsi")
    names = [unquoted(segment) for segment in segments]
    if _NO_NAME.search(path) or path.count("(") != path.count(")"):
        raise BadLinkError("it cannot be told where the room's name ends: it has a mark in it that no room's name has")
    fits = bool(names) and all(name.strip(".") and name.isprintable() for name in names)
    if not fits or _ENCODED_SLASH.search(path) or names[0].lower() in _JITSI_FILES:
        raise no_meeting("jitsi")
    if len(names) == 1 and names[0].lower().startswith("vpaas-"):
        raise BadLinkError("the link is to jitsi, but was cut off: it names a tenant and no room")
    url = _with_query(origin + path, _tidy(parts.query)) + (f"#{parts.fragment}" if parts.fragment else "")
    return Meeting(url, f"{origin.partition('://')[2]}{unquoted(path).lower()}", _secret(parts.query))
