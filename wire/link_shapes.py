"""What a link to a meeting looks like on each platform, and how it is tidied. Pure text; the host is checked elsewhere.

Whatever lets one in (passcode, token) stays byte for byte as it was written. Sources: facts on the platforms' pages,
1.1 Google Meet, 2.1 Zoom, 3.1 Teams, 4.1 Jitsi.
"""

import base64
import re
from typing import Final, NamedTuple
from urllib.parse import SplitResult, quote, unquote

import msgspec

# What only tells where a link was clicked.
_TRACKING_NAMES: Final = r"utm_\w+|fbclid|gclid|msclkid|mc_[ce]id|_hs\w+|_x_zm_\w+"
_TRACKING: Final = re.compile(rf"(?:{_TRACKING_NAMES})(?:=|\Z)", re.IGNORECASE)
_ENCODED_SLASH: Final = re.compile(r"%(?:2f|5c|00)", re.IGNORECASE)
_MOST_DECODED: Final = 3  # what mail programs and launchers were seen to put on top of each other

_MEET_CODE: Final = re.compile(r"[a-z]{3}-[a-z]{4}-[a-z]{3}")
_MEET_NICKNAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{3,38}[a-z0-9]")
_MEET_PAGES: Final = frozenset({"about", "download", "getalink", "landing", "lookup", "unsupported", "whoops"})

_ZOOM_NUMBER: Final = re.compile(r"/(?:(?:j|s|w|wc/join)/([0-9]{8,11})|wc/([0-9]{8,11})(?:/(?:join|start))?)/?")
_ZOOM_CUT_OFF: Final = re.compile(r"/(?:j|s|w|wc/join)(?:/[0-9]{0,7})?/?")
_ZOOM_EVENT: Final = re.compile(r"(?:/[A-Za-z0-9_.~-]+){2,6}/?")
_ZOOM_VANITY: Final = re.compile(r"/my/([A-Za-z0-9][A-Za-z0-9._-]{0,99})/?")
_ZOOM_REGISTRATION: Final = re.compile(r"/(?:webinar|meeting)/register(?:/.*)?")

_TEAMS_DEEP: Final = re.compile(r"/l/meetup-join/([^/?#]+)(?:/([0-9]*))?/?(?:\?([^#]*))?(?:#.*)?")
_TEAMS_SHORT: Final = re.compile(r"/meet/([0-9]{10,15})/?(?:\?([^#]*))?(?:#.*)?")
_TEAMS_APP: Final = frozenset({"/", "/_", "/_/", "/v2", "/v2/"})
TEAMS_LAUNCHER: Final = re.compile(r"/dl/launcher(?:/launcher\.html)?/?")
_TEAMS_LIGHT: Final = re.compile(r"/light-meetings/launch/?")
# What the launcher adds for itself, and `anon`, which the browser is given when it goes there without an account.
_TEAMS_LAUNCHING: Final = re.compile(
    rf"(?:{_TRACKING_NAMES}|anon|type|deeplinkid|directdl|mslaunch|enablemobilepage|suppressprompt|launchagent"
    r"|lightexperience)(?:=|\Z)",
    re.IGNORECASE,
)
_TEAMS_THREAD: Final = re.compile(r"19:[A-Za-z0-9_.=+-]{6,200}@(?:thread\.[a-z0-9]{2,12}|unq\.gbl\.spaces)")
_UNSAFE: Final = re.compile(r"[^\w!#$%&'()*+,\-./:;=?@\[\]~]", re.ASCII)

_JITSI_FILES: Final = frozenset(
    {
        *("static", "libs", "images", "lang", "sounds", "fonts", "css", "http-bind", "xmpp-websocket", "colibri-ws"),
        *("robots.txt", "favicon.ico", "config.js", "external_api.js"),
    }
)


class BadLinkError(ValueError):
    """The text is no meeting link; the message says what to change, and quotes nothing but a host."""


class Meeting(NamedTuple):
    """`url`: the tidied link. `identity`: equal for links to the same meeting of a platform."""

    url: str
    identity: str


def no_meeting(platform: str) -> BadLinkError:
    return BadLinkError(f"the link is to {platform}, but to no meeting there")


def parameter(query: str, name: str) -> str | None:
    """The first value of that name in a query, still encoded; None when there is none."""
    for part in query.split("&"):
        key, equals, value = part.partition("=")
        if equals and key == name:
            return value
    return None


def decoded(text: str, *starts: str) -> str:
    """`text` with as few of its percent-encodings undone as let it begin with one of `starts`; three at most."""
    for _ in range(_MOST_DECODED):
        if text.lower().startswith(starts):
            break
        text = unquote(text)
    return text


def _tidy(query: str, dropped: re.Pattern[str] = _TRACKING) -> str:
    """The rest of it byte for byte."""
    return "&".join(part for part in query.split("&") if part and not dropped.match(part))


def _with_query(url: str, query: str) -> str:
    return f"{url}?{query}" if query else url


def google_meet(parts: SplitResult) -> Meeting:
    """By code, or by the nickname that an organisation gave a meeting. Raises: BadLinkError."""
    first, _, rest = parts.path.strip("/").lower().partition("/")
    if first == "lookup":
        raise BadLinkError(
            "the link is to google_meet, but only looks a name up for people of one organisation; send the one with"
            " the meeting's code, as in https://meet.google.com/abc-defg-hij"
        )
    if first == "new":
        raise BadLinkError("the link is to google_meet, but makes a new meeting for whoever opens it; send that one's")
    name = parts.path[1:].removesuffix("/").lower()
    if rest or name in _MEET_PAGES or not (_MEET_CODE.fullmatch(name) or _MEET_NICKNAME.fullmatch(name)):
        raise no_meeting("google_meet")
    return Meeting(f"https://meet.google.com/{name}", name)


def zoom(parts: SplitResult, host: str) -> Meeting:
    """By number, or by the name of somebody's own room; events.zoom.us finds its meetings by itself.

    A link with a registrant's token (`tk`) keeps all of its query: changed, it lets nobody in. Raises: BadLinkError.
    """
    path = parts.path
    query = parts.query if parameter(parts.query, "tk") else _tidy(parts.query)
    if host == "events.zoom.us" and _ZOOM_EVENT.fullmatch(path):
        return Meeting(_with_query(f"https://{host}{path}", query), f"events{path.rstrip('/')}")
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
    return Meeting(_with_query(f"https://{host}{path.removesuffix('/')}", query), identity)


def teams(parts: SplitResult, origin: str) -> Meeting:
    """A link on a host of Teams in any of its shapes, the launcher's and the light meetings' undone.

    Raises: BadLinkError.
    """
    meeting = _teams_light(parts, origin) or _teams_page(parts, origin, any_thread=True)
    if meeting is None:
        raise no_meeting("teams")
    return meeting


def teams_by_shape(parts: SplitResult, origin: str, *, labelled: bool) -> Meeting | None:
    """The same on a host that is not known, where only a link that is Teams' in every part counts; None for others.

    `labelled`: the host has "teams" in its name; on others the shorter shapes may be anything.
    """
    if meeting := _teams_light(parts, origin):
        return meeting
    if labelled or parts.path.startswith("/l/meetup-join/"):
        return _teams_page(parts, origin, any_thread=False)
    return None


def _teams_page(parts: SplitResult, origin: str, *, any_thread: bool) -> Meeting | None:
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
    found = _teams_route(route, any_thread=any_thread)
    return Meeting(place + found.url, found.identity) if found else None


def _teams_route(route: str, *, any_thread: bool) -> Meeting | None:
    """The part of a link that says which meeting it is, tidied; `url` is that part alone."""
    for _ in range(1 + _MOST_DECODED):
        if found := _TEAMS_SHORT.fullmatch(route):
            query = _tidy(found[2] or "", _TEAMS_LAUNCHING)
            return Meeting(_clean(_with_query(f"/meet/{found[1]}", query)), found[1])
        found = _TEAMS_DEEP.fullmatch(route)
        if found and "%25" not in route:
            return _teams_deep(found, any_thread=any_thread)
        route = unquote(route)
    return None


def _teams_deep(found: re.Match[str], *, any_thread: bool) -> Meeting | None:
    thread, message = unquote(found[1]), found[2] or ""
    if not thread.strip(".") or not thread.isprintable() or _ENCODED_SLASH.search(found[1]):
        return None
    if not any_thread and not (_TEAMS_THREAD.fullmatch(thread) and message):
        return None
    path = f"/l/meetup-join/{found[1]}" + (f"/{message}" if message else "")
    query = _tidy(found[3] or "", _TEAMS_LAUNCHING)
    return Meeting(_clean(_with_query(path, query)), f"{thread.lower()}/{message}")


class _Coordinates(msgspec.Struct, rename="camel"):
    """Where a light meeting is: the first four for one of work, the last two for a personal one."""

    conversation_id: str | None = None
    tenant_id: str | None = None
    organizer_id: str | None = None
    message_id: str | None = None
    meeting_code: str | None = None
    passcode: str | None = None


def _teams_light(parts: SplitResult, origin: str) -> Meeting | None:
    if not _TEAMS_LIGHT.fullmatch(parts.path):
        return None
    coords = parameter(parts.query, "coords") or ""
    for _ in range(_MOST_DECODED):
        coords = unquote(coords)
    try:
        content = base64.b64decode(coords.translate(_STANDARD_BASE64).rstrip("=") + "==")
        at = msgspec.json.decode(content, type=_Coordinates)
    except (ValueError, msgspec.DecodeError, RecursionError):
        return None
    if at.meeting_code:
        route = _with_query(f"/meet/{at.meeting_code}", f"p={quote(at.passcode, safe='')}" if at.passcode else "")
    else:
        context = msgspec.json.encode({"Tid": at.tenant_id, "Oid": at.organizer_id})
        thread = quote(at.conversation_id or "", safe="")
        route = f"/l/meetup-join/{thread}/{at.message_id or 0}?context={quote(context)}"
    found = _teams_route(route, any_thread=False)
    return Meeting(origin + found.url, found.identity) if found else None


_STANDARD_BASE64: Final = str.maketrans("-_", "+/")


def _clean(text: str) -> str:
    """With those characters encoded that do not stand in a link, and no others."""
    return _UNSAFE.sub(lambda found: quote(found[0], safe=""), text)


def jitsi(parts: SplitResult, origin: str, *, most_segments: int = 2) -> Meeting:
    """A room, perhaps inside a tenant: the path as it was written. Keeps the token and the configuration by hash.

    Raises: BadLinkError.
    """
    path = parts.path.removesuffix("/")
    segments = path.split("/")[1:]
    names = [unquote(segment) for segment in segments]
    fits = 1 <= len(names) <= most_segments and all(name.strip(".") and name.isprintable() for name in names)
    if not fits or _ENCODED_SLASH.search(path) or names[0].lower() in _JITSI_FILES:
        raise no_meeting("jitsi")
    if len(names) == 1 and names[0].lower().startswith("vpaas-"):
        raise BadLinkError("the link is to jitsi, but was cut off: it names a tenant and no room")
    url = _with_query(origin + path, _tidy(parts.query)) + (f"#{parts.fragment}" if parts.fragment else "")
    return Meeting(url, f"{origin.partition('://')[2]}{unquote(path).lower()}")
