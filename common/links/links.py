"""Recognises the meeting link in a text: its platform, and the tidied link. Never logs a secret.

A text is refused unless it certainly has one complete link: look-alike hosts, credentials in the link, odd schemes, and
links that were cut or run into other text are refused. shapes.py knows what a link looks like on each platform,
wrappers.py unwraps links that lead on to others, text.py finds where a link begins and ends.

Reading takes time in proportion to the text: a bounded number of links is read, each once. The four files use only the
standard library of Python 3.9, because the serverless trigger has copies of them (deploy/vendor.py).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from common.links import shapes as link_shapes
from common.links import text as link_text
from common.links.shapes import Meeting, no_meeting
from common.links.text import INVISIBLE, MAX_LINK_LENGTH, BadLinkError, Piece, Undressed, undressed
from common.links.wrappers import decoded, is_below, may_wrap, parameter, tail, unwrapped

MAX_TEXT_LENGTH = 16 * 1024
"""Characters of a text with a link in it. The longest invitations have a quarter of it."""
_MOST_READ = 8
"""How many different links on hosts of meetings are read in a text of 16 KB; fewer in a shorter text. A link on an
unknown host counts for two, and so does one in a wrapper."""

# Hosts by platform (suffix match on whole labels); facts/platforms: 1.1, 2.1, 3.1, 4.1.
_KNOWN_HOSTS = {
    "google_meet": ("meet.google.com", "g.co"),
    "zoom": ("zoom.us", "zoom.com", "zoomgov.com", "zoom-x.de", "zoom.com.cn"),
    "teams": (
        *("teams.microsoft.com", "teams.live.com", "teams.cloud.microsoft", "teams.microsoft.us", "teams.sovcloud.fr"),
        "teams.microsoftonline.cn",
    ),
    "jitsi": ("meet.jit.si", "8x8.vc"),
}
PLATFORMS = (*_KNOWN_HOSTS, "room")
_BY_TAIL: dict[str, list[tuple[str, str]]] = {}  # by the last two labels of a host
for _platform, _hosts in _KNOWN_HOSTS.items():
    for _host in _hosts:
        _BY_TAIL.setdefault(tail(_host), []).append((_host, _platform))

_ROOM_PATH = re.compile(r"/r/[a-z0-9][a-z0-9-]{0,63}")
_TIDY_MEET = re.compile(r"https://(meet\.google\.com)/([a-z]{3}-[a-z]{4}-[a-z]{3})")
_TIDY_ROOM = re.compile(r"https?://([a-z0-9.-]{1,200}(?::[1-9][0-9]{0,3})?)/r/[a-z0-9][a-z0-9-]{0,63}")
_MOST_WRAPPERS = 3
_MOST_ESCAPES = 150  # the most escapes that are read; a Teams link in three wrappers has 100
_DEEPEST = "%2525252525"  # the deepest encoding that is read; a launcher link in three wrappers has one level less
_MOST_OTHER_LETTERS = 200
_MOST_HOST = 253

_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}\.){{1,12}}{_LABEL}")  # no backtracking: a label ends at its dot
_STARTS = ("https://", "http://")
_SCHEME = re.compile("https?:", re.IGNORECASE)
_NO_SCHEME = re.compile(rf"(?:{_LABEL}\.){{1,12}}[a-z]{{2,63}}(?::[0-9]{{1,5}})?[/?]", re.IGNORECASE)
_NEVER = re.compile(r"[ <>\\]")
_NO_HTTPS = "the link does not begin with https://"
_ENCODED_SCHEME = re.compile(r"https?%(?:25){0,2}3a", re.IGNORECASE)
_HALF_ESCAPE = re.compile(r"%[0-9A-Fa-f]?\Z")
# Teams' invitations name their meeting a second time, in the longer form: by what stands before it or in it, and by the
# id of its tag in HTML, in whatever language.
_REFERENCE = ("system reference", "join_link_compatibility")

# A host that nobody configured is refused if it is a name inside a network (RFC 6762, 6761, 8375), or imitates a known
# name.
_INSIDE = frozenset(
    {"local", "internal", "localhost", "localdomain", "lan", "home", "corp", "intranet", "private", "arpa", "onion"}
)
_IMITATED = ("google", "microsoft", "zoom", "teams.live", "meet.jit.si", "8x8")
_LOOKS_LIKE = str.maketrans({"0": "o", "1": "l", "i": "l", "3": "e", "5": "s", "-": "."})
# Hosts with pages about Jitsi, which would otherwise pass for a Jitsi server.
_NO_JITSI = ("jitsi.org", "jitsi.github.io", "jitsi.support", "jitsi.guide")
_JITSI_SIGNS = ("config.", "interfaceConfig.", "userInfo.", "jitsi_meet_external_api")


class NoLinkError(BadLinkError):
    """The text has no link to a host of meetings at all."""


class _TooManyError(Exception):
    pass


class MeetingLink(NamedTuple):
    """`guessed`: by what the platform was guessed on an unknown host; else empty. `identity`: equal for all links to
    the same meeting of a platform.
    """

    platform: str
    url: str
    guessed: str = ""
    identity: str = ""


class _Found(NamedTuple):
    """`weight`: of two different meetings in a text, the one with more weight is chosen. `unclear`: why part of the
    link may be missing.
    """

    link: MeetingLink
    meeting: Meeting
    weight: int
    unclear: str = ""


_CERTAIN = 2
_REPEATED = 1  # the invitation may repeat its meeting in another form, which cannot be compared
_GUESSED = 0


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
    longest: int = MAX_TEXT_LENGTH,
) -> MeetingLink:
    """The one meeting that `text` links to: a link, or an invitation with text and other links around it.

    Its `url` is tidied: unwrapped, with https, without tracking parameters; passcodes and tokens stay byte for byte.
    Recognising it again changes nothing. Whether an agent has an adapter for its platform is not checked here.

    `room_hosts`, `jitsi_hosts`: hosts (`name` or `name:port`) that serve this project's own meeting room, or a Jitsi.
    `other_hosts`: by platform, further hosts; hosts below them count, too. `guess_hosts`: also take a link to an
    unknown host if it has the shape of a Teams link, or the name or options of a Jitsi server. `longest`: limit of the
    text in characters. Raises: BadLinkError; NoLinkError where there is no link to a host of meetings.
    """
    hosts = _Hosts(room_hosts, jitsi_hosts, other_hosts, guess_hosts)
    text = text.strip().strip(INVISIBLE).strip()
    if len(text) > longest:
        raise BadLinkError(f"the text is longer than {longest} characters; send the link alone")
    return _tidy(text, hosts) or _read_text(text, hosts, longest)


def _tidy(text: str, hosts: _Hosts) -> MeetingLink | None:
    """The meeting of a text that is a link to a room or to Google Meet, tidied already, as most jobs have it. None: the
    text has to be read, which takes twenty times as long and finds the same in such a text.
    """
    room = _TIDY_ROOM.fullmatch(text) if hosts.rooms else None
    if room and room[1] in hosts.rooms and not may_wrap(text, room[1].partition(":")[0]):
        return MeetingLink("room", text, "", text)
    meet = _TIDY_MEET.fullmatch(text)
    if meet and not (hosts.others or meet[1] in hosts.rooms or meet[1] in hosts.jitsis):
        return MeetingLink("google_meet", text, "", meet[2])
    return None


def _read_text(text: str, hosts: _Hosts, longest: int) -> MeetingLink:
    """The one meeting that a text without space around it links to. `longest`: as for `recognise`. Raises:
    BadLinkError.
    """
    spaced = _is_spaced(text)
    if not spaced and _ENCODED_SCHEME.match(text):
        text = decoded(text, *_STARTS)
    text = link_text.carried(text).strip()
    spaced = _is_spaced(text)
    share = max(1, longest // MAX_TEXT_LENGTH)
    most = min(5 + len(text) // 4096, _MOST_READ * share)
    reader = _Reader(hosts, most, is_calendar=spaced and "BEGIN:V" in text)
    try:
        if not spaced and (_SCHEME.match(text) or _NO_SCHEME.match(text)) and "<" not in text:
            return reader.alone(text).link
        most_places = min(8 + len(text) // 1000, link_text.MOST_LINKS * share)
        return _only_one(text, reader, most_places, spaced=spaced)
    except _TooManyError:
        raise BadLinkError(
            f"the text holds more than {most} different links that may be to meetings; send the one that is meant"
        ) from None


def _is_spaced(text: str) -> bool:
    return len(text.split(None, 1)) > 1


# A link in a text


def _only_one(text: str, reader: _Reader, most: int, *, spaced: bool) -> MeetingLink:
    found: list[_Found] = []
    faults: list[BadLinkError] = []
    broken_at = -1
    for piece in link_text.links_in(text, most):
        if not spaced and not (found or faults) and ":" in text[: piece.start]:  # view-source:https://…
            break
        goes_on = 0 <= broken_at < piece.start and text[broken_at : piece.start].strip(" \t.") == "\n"
        broken_at = -1
        if goes_on and "://" not in piece.link[:8]:  # the end of the line may have cut the host
            faults.append(BadLinkError(_CUT))
            continue
        try:
            candidate = reader.in_text(text, piece)
        except BadLinkError as error:
            faults.append(error)
            broken_at = piece.stop
            continue
        if candidate.link.platform == "teams" and _is_reference(text, piece):
            candidate = candidate._replace(weight=min(candidate.weight, _REPEATED))
        found.append(candidate)
    if not found:
        raise _worst(faults, spaced=spaced)
    weight = max(candidate.weight for candidate in found)
    link = _chosen([candidate for candidate in found if candidate.weight == weight], text)
    if link.platform == "room" and spaced:  # the space may have cut the room's name
        raise BadLinkError("the link contains spaces or has text around it; send a meeting room's link alone")
    return link


def _is_reference(text: str, piece: Piece) -> bool:
    """Whether an invitation of Teams calls a link its other form: in the text before it, or in its HTML."""
    before = text[max(0, piece.start - 300) : piece.start].lower()
    tag = before.rpartition("<a ")
    around = tag[2] if tag[1] and ">" not in tag[2] else ""
    if around:
        around += text[piece.stop : piece.stop + 400].lower().partition("</a")[0]
    return _REFERENCE[0] in before[-40:] or any(name in around for name in _REFERENCE)


def _chosen(found: list[_Found], text: str) -> MeetingLink:
    """The most complete of the links found. Raises: BadLinkError where meetings or passcodes differ."""
    meetings = {(candidate.link.platform, candidate.meeting.identity) for candidate in found}
    if len(meetings) > 1:
        found = _without_second_form(found, meetings, text)
    clear = [candidate for candidate in found if not candidate.unclear]
    if not clear:
        raise BadLinkError(found[0].unclear)
    best = next((candidate for candidate in clear if candidate.meeting.whole), None) or max(
        clear, key=lambda candidate: len(candidate.meeting.secret)
    )
    for candidate in clear:
        if candidate.meeting.whole != best.meeting.whole or best.meeting.secret.startswith(candidate.meeting.secret):
            continue
        raise BadLinkError("the text holds links to one meeting with different passcodes; send the one that is meant")
    return best.link


def _without_second_form(found: list[_Found], meetings: set[tuple[str, str]], text: str) -> list[_Found]:
    """The links without the longer of the two links of a Teams invitation, which contains the number of the shorter
    one.

    Raises: BadLinkError where the meetings are different.
    """
    short = [identity for platform, identity in meetings if platform == "teams" and identity.isdecimal()]
    if len(meetings) == 2 and len(short) == 1 and {platform for platform, _ in meetings} == {"teams"}:
        number = short[0]
        spelt = " ".join(number[at : at + 3] for at in range(0, len(number), 3))
        if spelt in text.replace("\u00a0", " ").replace("&nbsp;", " "):
            return [candidate for candidate in found if candidate.meeting.identity == number]
    raise BadLinkError("the text holds links to different meetings; send the one that is meant")


def _worst(faults: list[BadLinkError], *, spaced: bool) -> BadLinkError:
    """The fault that says most."""
    if faults and not spaced:
        return faults[0]
    if telling := [fault for fault in faults if not isinstance(fault, NoLinkError)]:
        return telling[0]
    if faults:
        return NoLinkError(f"the text holds no link to a meeting: {faults[0]}")
    if spaced:
        return NoLinkError("the text contains spaces, and no link that begins with https://")
    return NoLinkError(_NO_HTTPS)


# One link


class _Reader:
    """Reads the links of one text, each once, up to a limit."""

    def __init__(self, hosts: _Hosts, most: int, *, is_calendar: bool = False) -> None:
        self._hosts = hosts
        self._is_calendar = is_calendar
        self._tails = {
            tail(name.partition(":")[0])
            for names in (hosts.rooms, hosts.jitsis, *hosts.others.values())
            for name in names
        }
        self._words = (*_WORDS, *self._tails)
        self._seen: dict[str, _Found | BadLinkError] = {}
        self._looked_at: dict[tuple[str, bool], tuple[Undressed, _Found | None, BadLinkError | None]] = {}
        self._left = self._broken_left = most

    def alone(self, link: str) -> _Found:
        """Read a text that is one link and nothing else. Raises: BadLinkError."""
        as_it_is = undressed(link.rstrip(">"), in_text=False).link
        shorter = link_text.without_end(as_it_is)
        try:
            found = self._either(as_it_is)
        except BadLinkError:
            if shorter == as_it_is:
                raise
            found = self._either(shorter)
        if not found.meeting.whole and (link_text.is_cut(as_it_is[len(shorter) :]) or _HALF_ESCAPE.search(shorter)):
            raise BadLinkError(_CUT)
        return found

    def in_text(self, text: str, piece: Piece) -> _Found:
        """Read a link with text around it. Raises: BadLinkError."""
        result = self._looked_at.get((piece.link, piece.closed))
        if result is None:
            result = self._looked_at[piece.link, piece.closed] = self._look_at(piece)
        bare, found, fault = result
        if found and (found.meeting.whole or bare.closed):
            return found
        if isinstance(fault, NoLinkError) and not _is_broken_in_brackets(text, piece):
            raise fault
        more = None if bare.closed else self._continued(text, piece)
        if more and (longer := self._longer(more)):
            return longer
        if found is None:
            return _raised(fault)
        if (more and more.likely) or bare.is_cut or _HALF_ESCAPE.search(bare.link):
            return found._replace(unclear=_CUT)
        doubt = _doubt(text, piece, bare.link, found)
        return _Found(found.link, found.meeting, found.weight, doubt) if doubt else found

    def _look_at(self, piece: Piece) -> tuple[Undressed, _Found | None, BadLinkError | None]:
        bare = Undressed(piece.link, piece.closed)
        try:
            if host := self._stranger(piece.link):
                raise _unknown(host)
            bare = undressed(piece.link, in_text=not piece.closed)
            if piece.closed:
                bare = Undressed(bare.link, True, bare.is_cut)
            return bare, self._either(bare.link), None
        except BadLinkError as error:
            return bare, None, error

    def _continued(self, text: str, piece: Piece) -> link_text.Continued | None:
        if self._is_calendar and _PROPERTY.match(text, piece.stop) and not _is_broken_in_brackets(text, piece):
            return None  # The property's own lines were joined before. But a text in it may have a broken link.
        more = link_text.continued(text, piece, unfolded=self._is_calendar)
        self._broken_left -= more is not None
        if self._broken_left < 0:
            raise _TooManyError
        return more

    def _longer(self, more: link_text.Continued) -> _Found | None:
        """The link joined with its next lines, if that certainly is one link."""
        try:
            bare = undressed(more.link, in_text=not more.closed)
            found = self._either(bare.link)
        except BadLinkError:
            return None
        return found if found.meeting.whole or more.closed else None

    def _stranger(self, link: str) -> str:
        """The host of a link that matches no known host and no shape of a meeting link; else empty."""
        start = link.find("://", 0, 8)
        found = _AUTHORITY.match(link, start + 3 if start >= 0 else 0)
        if not found:
            return ""
        host = found[1].lower()
        if self._is_named(host) or "teams" in host or "jitsi" in host:
            return ""
        if may_wrap(link, host):
            lower = link.lower()
            return "" if "sophos" in host or any(word in lower for word in self._words) else host
        return "" if any(sign in link for sign in _SIGNS) else host

    def _either(self, link: str) -> _Found:
        """Read a link with or without its scheme. Raises: BadLinkError."""
        seen = self._seen.get(link)
        if seen is None:
            self._left -= 1 + (not self._is_plain(link))
            if self._left < 0:
                raise _TooManyError
            try:
                seen = self._fresh(link)
            except BadLinkError as error:
                seen = error
            self._seen[link] = seen
        if isinstance(seen, BadLinkError):
            raise seen
        return seen

    def _is_plain(self, link: str) -> bool:
        """Whether the link is read in one step: known host, no wrapper, ASCII."""
        host = (link[:300].partition("://")[2] or link[:300]).partition("/")[0].lower()
        return self._is_named(host) and link.isascii() and "/linkredirect?" not in link

    def _is_named(self, host: str) -> bool:
        """Whether the host is a platform's, or the operator configured it or another one of its domain."""
        return tail(host) in self._tails or _platform_of(host) is not None

    def _fresh(self, link: str) -> _Found:
        if _SCHEME.match(link):
            return _read(link, self._hosts)
        try:
            found = _read(f"https://{link}", self._hosts)
        except NoLinkError as error:
            raise NoLinkError(_NO_HTTPS) from error
        if found.link.platform == "room":  # a room may use http or https
            raise NoLinkError(_NO_HTTPS)
        return found


_AUTHORITY = re.compile(r"([A-Za-z0-9.-]{1,253})(?![^/?#:])")
_WORDS = ("zoom", "meet", "teams", "jit", "8x8", "g.co")
"""Every link to a meeting on a known host contains one of these words, however it is wrapped, except in base64."""
_SIGNS = ("/l/meetup-join/", "/light-meetings/", "/dl/launcher", *(f"#{sign}" for sign in _JITSI_SIGNS))


_PROPERTY = re.compile(r"\n[A-Z][A-Z0-9-]{1,40}[:;]")  # of iCalendar, at the beginning of a line


def _is_broken_in_brackets(text: str, piece: Piece) -> bool:
    return piece.start > 0 and text[piece.start - 1] in '<"' and text[piece.stop : piece.stop + 1] in ("\n", " ")


def _raised(fault: BadLinkError | None) -> _Found:
    raise fault or BadLinkError(_CUT)


_CUT = "the link seems to be cut off where its line ends or dots stand; send it whole, in one line"
_UNCLEAR_NAME = (
    "it cannot be told where the name in the link ends: it contains spaces or has text beside it; send the link alone,"
    " with %20 for a space"
)


def _doubt(text: str, piece: Piece, link: str, found: _Found) -> str:
    """Why the text after a link may belong to it; empty where it cannot."""
    if text[piece.stop : piece.stop + 1] in ("", "\n"):
        return ""
    word, is_last = link_text.beside(text, piece)
    if (len(word) > 1 and any(mark in word for mark in "?&=%") and word[-1] != "?") or link_text.runs_into_tag(
        text, piece
    ):
        return _CUT
    ends_itself = link != piece.link or not link.isascii()  # a comma or the like ends it
    if found.link.platform in ("jitsi", "google_meet") and link == piece.link and any(map(str.isalnum, word)):
        return _UNCLEAR_NAME
    if found.meeting.secret and is_last and not ends_itself and any(map(str.isalnum, word)):
        return _CUT
    return ""


def _read(link: str, hosts: _Hosts, wrappers: int = 0, *, whole: bool = False, is_checked: bool = False) -> _Found:
    """Read one link, and unwrap it if need be. `is_checked`: it is a part of a link whose limits were checked. Raises:
    BadLinkError.
    """
    if not is_checked:
        _check_limits(link)
    if "&" in link:
        link = link.replace("&amp;", "&")
    parts, host, port = _split(link)
    if not host:
        raise BadLinkError("the link names no host")
    if len(host) > _MOST_HOST:
        raise NoLinkError("the link's host is longer than a host can be")
    if "@" in parts.netloc:
        raise BadLinkError("the link carries a user name or password before the host")
    if not link.isascii():
        link = _without_beside(link, parts, host, hosts)
        parts, host, port = _split(link)
    inner = _launched(parts) or unwrapped(link, parts, host)
    if inner is not None:
        if wrappers == _MOST_WRAPPERS:
            raise BadLinkError(f"the link is wrapped in more than {_MOST_WRAPPERS} others; send the meeting's own")
        return _read(inner[0], hosts, wrappers + 1, whole=inner[1], is_checked=inner[0] in link)
    found = _on_named_host(link, parts, host, port, hosts) or _on_other_host(parts, host, port, hosts)
    if whole and not found.meeting.whole:
        url, identity, secret, _ = found.meeting
        found = _Found(found.link, Meeting(url, identity, secret, whole=True), found.weight)
    return found


_USUAL = re.compile(r"(https?)://([a-z0-9.-]+)(?::([1-9][0-9]{0,3}))?(/[!-\"$->@-~]*)(?:\?([!-\"$-~]*))?(?:#([!-~]*))?")


def _check_limits(link: str) -> None:
    """Check length and characters. Raises: BadLinkError."""
    if len(link) > MAX_LINK_LENGTH:
        raise BadLinkError(f"the link is longer than {MAX_LINK_LENGTH} characters")
    if _NEVER.search(link) or not link.isprintable():
        raise BadLinkError("the link contains spaces, control characters, angle brackets or backslashes")
    if link.count("&") > link_text.MOST_PARAMETERS:
        raise BadLinkError(f"the link has more than {link_text.MOST_PARAMETERS} parameters")
    if _DEEPEST in link:
        raise BadLinkError("the link is encoded too many times over; send the meeting's own, out of its wrappers")
    if link.count("%") > _MOST_ESCAPES:
        raise BadLinkError(
            f"the link has more than {_MOST_ESCAPES} escapes; send the meeting's own, out of its wrappers"
        )
    if not link.isascii() and len(link) - len(link.encode("ascii", "ignore")) > _MOST_OTHER_LETTERS:
        raise BadLinkError(f"the link has more than {_MOST_OTHER_LETTERS} letters that are not ASCII")


def _split(link: str) -> tuple[SplitResult, str, int | None]:
    """The parts of a link, with the host in lower case, and its port. Raises: BadLinkError."""
    if usual := _USUAL.fullmatch(link):  # takes a fifth of the time of urlsplit
        scheme, host, port, path, query, fragment = usual.groups("")
        at_port = f"{host}:{port}" if port else host
        return SplitResult(scheme, at_port, path, query, fragment), host, int(port) if port else None
    try:
        parts = urlsplit(link)
        return parts, parts.hostname or "", parts.port
    except ValueError as error:  # its text quotes the link, which may contain a password
        raise BadLinkError("the link is not a URL: its host or port cannot be read") from error


def _launched(parts: SplitResult) -> tuple[str, bool] | None:
    """The complete link inside a Teams launcher link; None if it holds only a path."""
    if not parts.path.startswith("/dl/launcher") or not link_shapes.TEAMS_LAUNCHER.fullmatch(parts.path):
        return None
    target = decoded(parameter(parts.query, "url") or "", *_STARTS)
    return (target, False) if target.startswith(_STARTS) else None


_NO_ASCII = re.compile(r"[^\x00-\x7f]")
_MIXED = re.compile(r"[A-Za-z0-9]([^\x00-\x7f])")


def _without_beside(link: str, parts: SplitResult, host: str, hosts: _Hosts) -> str:
    """The link without text that follows it directly, without a space, if it is certain where the link ends.

    Links to all platforms but Jitsi are ASCII to their end. The name of a Jitsi room may have any letters: where
    letters of a script without spaces follow ASCII ones, the end is uncertain. Raises: BadLinkError.
    """
    first = _NO_ASCII.search(link, link.find(parts.netloc) + len(parts.netloc))
    if not first or not parts.netloc.isascii():
        return link
    if _platform_of(host) in ("google_meet", "zoom", "teams") or not _may_be_jitsi(parts, host, hosts):
        return link_text.without_end(link[: first.start()]) if link_text.ends_before(first[0]) else link
    link = link_text.without_end(link)
    others = _NO_ASCII.findall(link)
    is_mixed = any(link_text.ends_before(found) for found in _MIXED.findall(link))
    if is_mixed or any(link_text.is_no_letter(character) for character in set(others)):
        raise BadLinkError(_UNCLEAR_NAME)
    return link


def _may_be_jitsi(parts: SplitResult, host: str, hosts: _Hosts) -> bool:
    names = {host, f"{host}:{parts.port}"}
    named = (*hosts.jitsis, *hosts.others.get("jitsi", ()))
    return "jit" in host or _platform_of(host) == "jitsi" or not names.isdisjoint(named) or is_below(host, named)


def _on_named_host(link: str, parts: SplitResult, host: str, port: int | None, hosts: _Hosts) -> _Found | None:
    """The meeting, on a host that the operator configured; None on other hosts."""
    if not (hosts.rooms or hosts.jitsis or hosts.others):
        return None
    names = {host, f"{host}:{port}"}
    if not names.isdisjoint(hosts.rooms):
        if not _ROOM_PATH.fullmatch(parts.path):
            raise BadLinkError("the link is to a meeting room host, but its path is not /r/NAME")
        return _Found(MeetingLink("room", link, "", link), Meeting(link, link), _CERTAIN)
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


def _on_other_host(parts: SplitResult, host: str, port: int | None, hosts: _Hosts) -> _Found:
    """The meeting, on a platform's own host or on one that is guessed."""
    platform = _platform_of(host) if _is_name(host) else None
    guess = _guessed(parts, host) if platform is None and hosts.guess else None
    usual = port in (None, 443) or (parts.scheme, port) == ("http", 80)
    if platform and not usual:
        raise BadLinkError(f"the link is to {platform}, but not by https on its usual port")
    origin = f"https://{host}"
    if platform == "google_meet":
        meeting = link_shapes.google_short(parts) if host == "g.co" else link_shapes.google_meet(parts)
    elif platform == "zoom":
        meeting = link_shapes.zoom(parts, host)
    elif platform == "teams":
        meeting = link_shapes.teams(parts, origin)
    elif platform == "jitsi":
        return _found(platform, link_shapes.jitsi(parts, origin))
    elif guess and usual:
        return guess
    else:
        raise _unknown(host)
    if not (parts.path + parts.query).isascii():
        raise BadLinkError(f"the link is to {platform}, but has a letter in it that no link there has")
    return _found(platform, meeting)


def _unknown(host: str) -> NoLinkError:
    return NoLinkError(
        f"unknown platform: {host[:80]!r} is not a meeting host"
        " (hosts of your own go in [meetings] room_hosts, jitsi_hosts or other_hosts)"
    )


def _found(platform: str, meeting: Meeting, weight: int = _CERTAIN, guessed: str = "") -> _Found:
    return _Found(MeetingLink(platform, meeting.url, guessed, meeting.identity), meeting, weight)


def _platform_of(host: str) -> str | None:
    for suffix, platform in _BY_TAIL.get(tail(host), ()):
        if host == suffix or host.endswith(f".{suffix}"):
            return platform
    return None


def _is_name(host: str) -> bool:
    return len(host) <= _MOST_HOST and _HOST.fullmatch(host) is not None


# A host that nobody configured


def _guessed(parts: SplitResult, host: str) -> _Found | None:
    """A Teams link by its shape, or a Jitsi room by the host's name or the link's options; None for everything else.

    A host called "meet" is not enough: a dozen products use that name.
    """
    labels = host.split(".")
    is_teams = "teams" in labels or parts.path.startswith(("/l/meetup-join/", "/light-meetings/"))
    named, configured = "jitsi" in host, parts.fragment.startswith(_JITSI_SIGNS)
    if not (is_teams or named or configured) or not _is_name(host):
        return None
    if not labels[-1].isalpha() or labels[-1] in _INSIDE or "xn--" in host or _imitates(host):
        return None
    origin = f"https://{host}"
    if is_teams and (meeting := link_shapes.teams_by_shape(parts, origin, labelled="teams" in labels)):
        return _found("teams", meeting, _GUESSED, f"{host} is taken for Teams by the shape of the link")
    if (named or configured) and not is_below(host, _NO_JITSI):
        why = "the name of the host" if named else "the configuration in the link"
        try:
            return _found("jitsi", link_shapes.jitsi(parts, origin), _GUESSED, f"{host} is taken for a Jitsi by {why}")
        except BadLinkError:
            return None
    return None


def _imitates(host: str) -> bool:
    """Whether the host contains a known name, or one that looks like it."""
    seen = _as_it_looks(host)
    if any(name in seen for name in _IMITATED_LOOKS):
        return True
    return any(_is_misspelt(label, name) for label in seen.split(".") for name in _IMITATED_LOOKS[:2])


def _as_it_looks(host: str) -> str:
    return host.translate(_LOOKS_LIKE).replace("rn", "m").replace("vv", "w")


_IMITATED_LOOKS = tuple(map(_as_it_looks, _IMITATED))


def _is_misspelt(label: str, name: str) -> bool:
    """Whether a word is a known name with two letters exchanged, or with one letter missing, added or changed."""
    if abs(len(label) - len(name)) > 1:
        return False
    if sorted(label) == sorted(name):
        return True
    shorter, longer = sorted((label, name), key=len)
    start = next((place for place, (a, b) in enumerate(zip(shorter, longer)) if a != b), len(shorter))  # noqa: B905
    return shorter[start:] == longer[start + 1 :] or shorter[start + 1 :] == longer[start + 1 :]
