"""Recognises the meeting link in a text: which platform it is of, and what of it is kept. Never logs a secret.

Refuses everything that is not certainly one meeting: look-alike hosts, credentials in the link, odd schemes. What a
link looks like on each platform stands in link_shapes.py.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from wire import link_shapes
from wire.link_shapes import BadLinkError, Meeting, decoded, no_meeting, parameter

MAX_LINK_LENGTH: Final = 4096
MAX_TEXT_LENGTH: Final = 16 * 1024
"""Of a text with a link in it: the longest invitations are a quarter of it."""

# Hosts by platform (suffix match on whole labels); facts/platforms: 1.1, 2.1, 3.1, 4.1.
_KNOWN_HOSTS: Final = {
    "google_meet": ("meet.google.com",),
    "zoom": ("zoom.us", "zoom.com", "zoomgov.com"),
    "teams": (
        *("teams.microsoft.com", "teams.live.com", "teams.cloud.microsoft", "teams.microsoft.us", "teams.sovcloud.fr"),
    ),
    "jitsi": ("meet.jit.si", "8x8.vc"),
}
PLATFORMS: Final = (*_KNOWN_HOSTS, "room")

_ROOM_PATH: Final = re.compile(r"/r/[a-z0-9][a-z0-9-]{0,63}")
_MOST_WRAPPERS: Final = 3
_GOOGLE: Final = re.compile(r"(?:www\.)?google\.(?:com|[a-z]{2}|com?\.[a-z]{2})")
_SAFELINKS: Final = ".safelinks.protection.outlook.com"

_LABEL: Final = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST: Final = re.compile(rf"(?:{_LABEL}\.)+{_LABEL}")
_STARTS: Final = ("https://", "http://")
_SCHEME: Final = re.compile("https?:", re.IGNORECASE)
_NO_SCHEME: Final = re.compile(rf"(?:{_LABEL}\.)+[a-z]{{2,63}}(?::[0-9]{{1,5}})?[/?]", re.IGNORECASE)
_LINK: Final = re.compile(
    rf"(?<![\w@./%+-])(?:https?://|(?:{_LABEL}\.)+[a-z]{{2,63}}(?::[0-9]{{1,5}})?/)[^\s<>]*", re.IGNORECASE
)
_AMPERSAND: Final = re.compile("&(?:amp;)+")  # as HTML has it
_NEVER: Final = re.compile(r"[ <>\\]")
_NO_HTTPS: Final = "the link does not begin with https://"
_ENCODED_SCHEME: Final = re.compile(r"https?%(?:25){0,2}3a", re.IGNORECASE)
_INVISIBLE: Final = "\u200b\u200c\u200d\u2060\ufeff"
"""What copying leaves at the ends of a text."""
_CLOSERS: Final = MappingProxyType(
    {'"': '"', "'": "'", "“": "”", "‘": "’", "„": "“", "«": "»", "(": ")", "[": "]", "{": "}", "<": ">", "`": "`"}
)
_REFERENCE: Final = "system reference"  # Teams' invitations name their meeting a second time, in the longer form

# A host that nobody named is not taken inside a network (RFC 6762, 6761, 8375), nor one that plays on a known name.
_INSIDE: Final = frozenset(
    {"local", "internal", "localhost", "localdomain", "lan", "home", "corp", "intranet", "private", "arpa", "onion"}
)
_IMITATED: Final = ("google", "microsoft", "zoom", "teams.live", "meet.jit.si", "8x8")
_LOOKS_LIKE: Final = str.maketrans({"0": "o", "1": "l", "i": "l", "3": "e", "5": "s", "-": "."})
# Hosts that would else pass for a Jitsi's: of other services, and what is written about Jitsi.
_NO_JITSI: Final = (
    *("lync.com", "skype.com", "goto.com", "gotomeeting.com", "webex.com", "zoho.com"),
    *("jitsi.org", "jitsi.github.io"),
)


class MeetingLink(NamedTuple):
    platform: str
    url: str


class _UnknownHostError(BadLinkError):
    """Of the faults of a text's links this one tells least."""


class _Found(NamedTuple):
    """`weight`: of two different meetings in a text the heavier counts."""

    link: MeetingLink
    identity: str
    weight: int


_CERTAIN: Final = 2
_REPEATED: Final = 1  # in other words, perhaps, so that it cannot be told to be the same
_GUESSED: Final = 0


class _Hosts(NamedTuple):
    rooms: Collection[str]
    jitsis: Collection[str]
    others: Mapping[str, Collection[str]]
    guess: bool


def recognise(
    text: str,
    room_hosts: Collection[str] = (),
    jitsi_hosts: Collection[str] = (),
    other_hosts: Mapping[str, Collection[str]] = MappingProxyType({}),
    *,
    guess_hosts: bool = True,
) -> MeetingLink:
    """The one meeting that `text` links to: a link, or an invitation with text and other links around it.

    Its `url` is tidied: unwrapped from redirects, by https, without tracking; passcodes and tokens byte for byte.
    Recognising it again changes nothing. Whether an agent has an adapter for its platform is not known here.

    `room_hosts`, `jitsi_hosts`: hosts (`name` or `name:port`) that serve this project's own meeting room, or a Jitsi.
    `other_hosts`: by platform, the same with all hosts below them. `guess_hosts`: take a link to a host that nobody
    named, where it has the shape of a Teams link or the name of a Jitsi.
    Raises: BadLinkError.
    """
    hosts = _Hosts(room_hosts, jitsi_hosts, other_hosts, guess_hosts)
    text = text.strip().strip(_INVISIBLE).strip()
    if len(text) > MAX_TEXT_LENGTH:
        raise BadLinkError(f"the text is longer than {MAX_TEXT_LENGTH} characters; send the link alone")
    spaced = len(text.split(None, 1)) > 1
    if not spaced and _ENCODED_SCHEME.match(text):
        text = decoded(text, *_STARTS)
        spaced = len(text.split(None, 1)) > 1
    if not spaced and (_SCHEME.match(text) or _NO_SCHEME.match(text)):
        return _read_alone(text, hosts).link
    return _only_one(text, hosts, spaced=spaced)


# A link in a text


def _only_one(text: str, hosts: _Hosts, *, spaced: bool) -> MeetingLink:
    found: list[_Found] = []
    faults: list[BadLinkError] = []
    for start, link in _links_in(text):
        if not spaced and not (found or faults) and ":" in text[:start]:  # view-source:https://…
            break
        try:
            one = _read_either(link, hosts)
        except BadLinkError as error:
            faults.append(error)
            continue
        if _REFERENCE in text[max(0, start - 40) : start].lower():
            one = one._replace(weight=min(one.weight, _REPEATED))
        found.append(one)
    if not found:
        raise _worst(faults, spaced=spaced)
    weight = max(one.weight for one in found)
    certain = [one for one in found if one.weight == weight]
    if len({(one.link.platform, one.identity) for one in certain}) > 1:
        raise BadLinkError("the text holds links to different meetings; send the one that is meant")
    link = next((one.link for one in certain if "?" in one.link.url), certain[0].link)
    if link.platform == "room" and spaced:  # whose name may have been cut by the space
        raise BadLinkError("the link contains spaces or has text around it; send a meeting room's link alone")
    return link


def _worst(faults: list[BadLinkError], *, spaced: bool) -> BadLinkError:
    """The one that tells most."""
    if faults and not spaced:
        return faults[0]
    if telling := [fault for fault in faults if not isinstance(fault, _UnknownHostError)]:
        return telling[0]
    if faults:
        return BadLinkError(f"the text holds no link to a meeting: {faults[0]}")
    if spaced:
        return BadLinkError("the text contains spaces, and no link that begins with https://")
    return BadLinkError(_NO_HTTPS)


def _links_in(text: str) -> Iterator[tuple[int, str]]:
    """Every link with its place, cut where its quotes or brackets close, or its sentence ends."""
    place = 0
    while found := _LINK.search(text, place):
        link, start = found[0], found.start()
        closer = _CLOSERS.get(text[start - 1]) if start else None
        if closer and closer in link:
            link = link[: link.index(closer)]
        place = start + len(link)
        yield start, _without_end(link)


def _without_end(link: str) -> str:
    """Without what ends the sentence, or closes what was opened before the link."""
    while link and (link[-1] in ".,;:!?…”’»>" or (link[-1] in ")]}\"'" and _is_odd(link, link[-1]))):
        link = link[:-1]
    return link


def _is_odd(link: str, closer: str) -> bool:
    opener = {")": "(", "]": "[", "}": "{"}.get(closer)
    return link.count(closer) > link.count(opener) if opener else link.count(closer) % 2 == 1


# One link


def _read_alone(link: str, hosts: _Hosts) -> _Found:
    """A link that stands alone ends where it ends, unless no meeting is called so."""
    link = link.rstrip(">")
    try:
        return _read_either(link, hosts)
    except BadLinkError:
        shorter = _without_end(link)
        if shorter == link:
            raise
    return _read_either(shorter, hosts)


def _read_either(link: str, hosts: _Hosts) -> _Found:
    """With its scheme or without."""
    if _SCHEME.match(link):
        return _read(link, hosts)
    try:
        found = _read(f"https://{link}", hosts)
    except _UnknownHostError as error:
        raise _UnknownHostError(_NO_HTTPS) from error
    if found.link.platform == "room":  # which may be by http or https
        raise _UnknownHostError(_NO_HTTPS)
    return found


def _read(link: str, hosts: _Hosts, wrappers: int = 0) -> _Found:
    """Raises: BadLinkError."""
    if len(link) > MAX_LINK_LENGTH:
        raise BadLinkError(f"the link is longer than {MAX_LINK_LENGTH} characters")
    if _NEVER.search(link) or not link.isprintable():
        raise BadLinkError("the link contains spaces, control characters, angle brackets or backslashes")
    link = _AMPERSAND.sub("&", link)
    try:
        parts = urlsplit(link)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:  # whose text quotes the link, perhaps a password in it
        raise BadLinkError("the link is not a URL: its host or port cannot be read") from error
    if not host:
        raise BadLinkError("the link names no host")
    if parts.username is not None or parts.password is not None:
        raise BadLinkError("the link carries a user name or password before the host")
    inner = _wrapped(parts, host)
    if inner is not None:
        if wrappers == _MOST_WRAPPERS:
            raise BadLinkError(f"the link is wrapped in more than {_MOST_WRAPPERS} others; send the meeting's own")
        return _read(_unwrapped(inner), hosts, wrappers + 1)
    if found := _on_named_host(link, parts, hosts):
        return found
    return _on_other_host(parts, host, hosts)


def _wrapped(parts: SplitResult, host: str) -> str | None:
    """What a link only leads on to, still encoded; None for one that leads nowhere else."""
    if _GOOGLE.fullmatch(host) and parts.path == "/url":
        return parameter(parts.query, "q") or parameter(parts.query, "url") or ""
    if host.endswith(_SAFELINKS):
        return parameter(parts.query, "url") or ""
    if link_shapes.TEAMS_LAUNCHER.fullmatch(parts.path):
        target = parameter(parts.query, "url") or ""
        return target if decoded(target, *_STARTS).startswith(_STARTS) else None  # else it is a path on its own host
    return None


def _unwrapped(inner: str) -> str:
    link = decoded(unquote(inner), *_STARTS)
    if not link.lower().startswith(_STARTS):
        raise BadLinkError("the link leads on to something that does not begin with https://")
    return link


def _on_named_host(link: str, parts: SplitResult, hosts: _Hosts) -> _Found | None:
    """A meeting on a host that the operator named; None on others."""
    host = parts.hostname or ""
    names = {host, f"{host}:{parts.port}"}
    if not names.isdisjoint(hosts.rooms):
        if not _ROOM_PATH.fullmatch(parts.path):
            raise BadLinkError("the link is to a meeting room host, but its path is not /r/NAME")
        return _Found(MeetingLink("room", link), link, _CERTAIN)
    if not names.isdisjoint(hosts.jitsis):
        origin = f"{parts.scheme}://{parts.netloc.lower()}"
        return _found("jitsi", link_shapes.jitsi(parts, origin, most_segments=8))
    for platform, others in hosts.others.items():
        if any(name in names or host.endswith(f".{name}") for name in others):
            return _on_others_host(link, platform, parts)
    return None


def _on_others_host(link: str, platform: str, parts: SplitResult) -> _Found:
    if parts.scheme != "https":
        raise BadLinkError(f"the link is to {platform}, but not by https")
    origin = f"https://{parts.netloc.lower()}"
    if platform == "teams":
        return _found(platform, link_shapes.teams(parts, origin))
    if platform == "jitsi":
        return _found(platform, link_shapes.jitsi(parts, origin, most_segments=8))
    if not parts.path.strip("/") and not parts.query:
        raise no_meeting(platform)
    return _found(platform, Meeting(link, link))


def _on_other_host(parts: SplitResult, host: str, hosts: _Hosts) -> _Found:
    """A meeting on a host that everybody knows, or that is guessed to be a meeting's."""
    platform = _platform_of(host) if _HOST.fullmatch(host) else None
    guess = _guessed(parts, host) if platform is None and hosts.guess else None
    usual = parts.port in (None, 443) or (parts.scheme, parts.port) == ("http", 80)
    if platform and not usual:
        raise BadLinkError(f"the link is to {platform}, but not by https on its usual port")
    origin = f"https://{host}"
    match platform:
        case "google_meet":
            return _found(platform, link_shapes.google_meet(parts))
        case "zoom":
            return _found(platform, link_shapes.zoom(parts, host))
        case "teams":
            return _found(platform, link_shapes.teams(parts, origin))
        case "jitsi":
            return _found(platform, link_shapes.jitsi(parts, origin))
        case _:
            pass
    if guess and usual:
        return guess
    raise _UnknownHostError(
        f"unknown platform: {host[:80]!r} is not a meeting host"
        " (hosts of your own go in [meetings] room_hosts, jitsi_hosts or other_hosts)"
    )


def _found(platform: str, meeting: Meeting, weight: int = _CERTAIN) -> _Found:
    return _Found(MeetingLink(platform, meeting.url), meeting.identity, weight)


def _platform_of(host: str) -> str | None:
    for platform, suffixes in _KNOWN_HOSTS.items():
        if _is_below(host, suffixes):
            return platform
    return None


def _is_below(host: str, suffixes: Collection[str]) -> bool:
    return any(host == suffix or host.endswith(f".{suffix}") for suffix in suffixes)


# A host that nobody named


def _guessed(parts: SplitResult, host: str) -> _Found | None:
    """A Teams link by its shape, or a Jitsi room by the host's name; None for all else."""
    labels = host.split(".")
    if not _HOST.fullmatch(host) or not labels[-1].isalpha() or labels[-1] in _INSIDE or "xn--" in host:
        return None
    if _imitates(host):
        return None
    origin = f"https://{host}"
    if meeting := link_shapes.teams_by_shape(parts, origin, labelled="teams" in labels):
        return _found("teams", meeting, _GUESSED)
    if ("jitsi" in host or "meet" in labels[:-1]) and not _is_below(host, _NO_JITSI):
        try:
            return _found("jitsi", link_shapes.jitsi(parts, origin), _GUESSED)
        except BadLinkError:
            return None
    return None


def _imitates(host: str) -> bool:
    """Whether the host has a known name in it, or one that reads like it."""
    seen = _as_it_looks(host)
    if any(_as_it_looks(name) in seen for name in _IMITATED):
        return True
    return any(_is_misspelt(label, name) for label in seen.split(".") for name in map(_as_it_looks, _IMITATED[:2]))


def _as_it_looks(host: str) -> str:
    return host.translate(_LOOKS_LIKE).replace("rn", "m").replace("vv", "w")


def _is_misspelt(label: str, name: str) -> bool:
    """Two letters of it exchanged, or one too few, too many or another."""
    if sorted(label) == sorted(name):
        return True
    shorter, longer = sorted((label, name), key=len)
    start = next((place for place, (a, b) in enumerate(zip(shorter, longer, strict=False)) if a != b), len(shorter))
    return shorter[start:] == longer[start + 1 :] or shorter[start + 1 :] == longer[start + 1 :]
