"""Jobs that are slow to read on purpose: each repeats one thing up to the limits. Used by `./dev bench` and tests.

Each shape makes one kind of work: many links, many hosts, brackets, escapes, lines, layers; or, in the job itself, many
small elements, odd keys, depth. `jobs(scale)` makes them as large as the limits allow, times `scale`.
"""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from common.jobs.job import MAX_DEPTH, MAX_JOB_BYTES
from common.links.links import MAX_LINK_LENGTH, MAX_TEXT_LENGTH

_MEET: Final = "https://meet.google.com/abc-defg-hij"
_ZOOM: Final = "https://us02web.zoom.us/j/81234567890"
_DEEP: Final = "https://teams.microsoft.com/l/meetup-join/19%3ameeting_NGQ0%40thread.v2/0?context="
_LAUNCHER: Final = "https://teams.microsoft.com/dl/launcher/launcher.html?url="
_SAFE: Final = "https://eur01.safelinks.protection.outlook.com/?data=1&url="


class Hostile(NamedTuple):
    name: str
    payload: bytes


def jobs(scale: float = 1.0) -> Iterator[Hostile]:
    """The jobs. `scale`: their size; 1.0 is the largest that is read at all."""
    text, link = int(MAX_TEXT_LENGTH * scale), int(MAX_LINK_LENGTH * scale)
    for name, unit in _REPEATED.items():
        yield _of_link(f"text of {name}", filled("", unit, text))
        yield _of_link(f"text of {name}, behind a meeting", filled(f"{_MEET} ", unit, text))
        yield _of_link(f"text of {name}, in front of one", filled("", unit, text - len(_MEET) - 1) + f" {_MEET}")
        yield _of_link(f"link of {name}", filled("https://meet.jit.si/", unit.replace(" ", ""), link))
        yield _of_link(f"passcode of {name}", filled(f"{_ZOOM}?pwd=", unit.replace(" ", ""), link))
    for name, number in _NUMBERED.items():
        yield _of_link(f"text of {name}", "".join(_until(number, text)))
    for name, (start, unit) in _STARTED.items():
        yield _of_link(f"link of {name}", filled(start, unit, link))
        yield _of_link(f"text of links of {name}", filled("", filled(start, unit, min(200, text)) + " ", text))
    for name, link_of in _LAYERED.items():
        yield _of_link(f"link of {name}", link_of(link))
    for name, (start, unit, end) in _DOCUMENTS.items():
        size = (int(MAX_JOB_BYTES * scale) - len(end)) * len(unit) // len(unit.encode())
        yield Hostile(name, f"{filled(start, unit, size)}{end}".encode())


def _of_link(name: str, text: str) -> Hostile:
    return Hostile(name, json.dumps({"meeting_link": text}, ensure_ascii=False).encode(errors="replace"))


def filled(start: str, unit: str, size: int) -> str:
    """`start`, and as many `unit` as fit into `size` characters."""
    return start + unit * max(1, (size - len(start)) // max(1, len(unit)))


def _until(number: Callable[[int], str], size: int) -> Iterator[str]:
    made = at = 0
    while made + len(piece := number(at)) <= size:
        yield piece
        made, at = made + len(piece), at + 1


_REPEATED: Final = {
    "links": "https://a.b/ ",
    "guessed links": "https://jitsi.x/a ",
    "links without scheme": "a.bc/ ",
    "meetings": f"{_MEET} ",
    "meetings without scheme": "zoom.us/j/123456789 ",
    "schemes": "https://",
    "colons and slashes": "://",
    "quoted links": '"https://zoom.us/j/1" ',
    "links in brackets": "<https://zoom.us/j/123456789> ",
    "broken links": f"<{_ZOOM}?pwd=a\nb\n",
    "lines": "\n",
    "lines of links": f"{_ZOOM}?pwd=a\n",
    "lines with a space": "\n ",
    "carriage returns": "\r\n ",
    "spaces": "a ",
    "dots": ".",
    "labels": "a.",
    "top level domains": ".aa",
    "long labels": "a" * 63 + ".",
    "dashes": "-",
    "slashes": "/",
    "backslashes": "\\",
    "escapes of iCalendar": "\\n",
    "escaped slashes": "\\/",
    "closing brackets": ")",
    "opening brackets": "(",
    "brackets in turn": ")]}",
    "quotes": '"',
    "apostrophes": "'",
    "angle brackets": "<",
    "closed angle brackets": ">",
    "tags": "<b>",
    "soft breaks": "<wbr>",
    "ampersands": "&",
    "entities": "&amp;",
    "nested entities": "amp;&",
    "numbers of characters": "&#47;",
    "unknown entities": "&a1;",
    "percents": "%",
    "escapes": "%41",
    "wrong escapes": "%4",
    "escapes of slashes": "%2f",
    "escapes of escapes": "%25",
    "equals signs": "=",
    "quoted-printable": "=3D",
    "broken quoted-printable": "=3D=\n",
    "marks of Proofpoint": "__;",
    "stars": "*",
    "bars": "|",
    "parameters": "a=1&",
    "trackers": "utm_a=1&",
    "passcodes": "pwd=1&",
    "invisible characters": "\u200b",
    "directions": "\u202a",
    "ideographs": "会",
    "ideographs and letters": "a会",
    "full stops": "。",
    "letters with marks": "é",
    "emoji": "\U0001f600",
    "characters of four bytes and spaces": "\U0001f600 ",
    "references": f"system reference {_MEET} ",
    "numbers": "1234567890 ",
    "calendars": "BEGIN:VEVENT\n ",
    "words": "meeting ",
}
_NUMBERED: Final[dict[str, Callable[[int], str]]] = {
    "different links": lambda at: f"https://a.b/{at} ",
    "different hosts": lambda at: f"https://h{at}.example/ ",
    "different hosts without scheme": lambda at: f"h{at}.example/ ",
    "different meetings of Zoom": lambda at: f"https://zoom.us/j/{100_000_000 + at}?pwd=a ",
    "one meeting of Zoom in many forms": lambda at: f"https://zoom.us/j/123456789?pwd=a&x={at} ",
    "different names of Jitsi": lambda at: f"https://jitsi{at}.example/a ",
    "hosts that imitate": lambda at: f"https://teams.micros0ft{at}.example/l/meetup-join/ ",
    "different safe links": lambda at: f"{_SAFE}{quote(_ZOOM, safe='')}%3Fpwd%3D{at}&x ",
    "different links to no meeting": lambda at: f"https://zoom.us/u/{at} ",
    "different long lines": lambda at: f"{_ZOOM}?pwd=QkR0aVBaQkR0aVBaQkR0aVBa{at:08}\nQkR0aVBa{at}\n",
    "different entities": lambda at: f"https://zoom.us/j/123456789?pwd={at}&nbsp; ",
    "different letters": lambda at: chr(0x4E00 + at % 20_000),
    "links with different letters": lambda at: f"https://meet.jit.si/{chr(0x4E00 + at % 20_000)}a ",
}
_STARTED: Final = {
    "escapes in a thread": ("https://teams.microsoft.com/l/meetup-join/", "%41"),
    "escapes of escapes in a thread": ("https://teams.microsoft.com/l/meetup-join/", "%2525252541"),
    "a context of quotes": (_DEEP, '"'),
    "a context of braces": (_DEEP, "{"),
    "a context of brackets": (f"{_DEEP}%7B%22Tid%22:", "["),
    "a context of strings": (f"{_DEEP}[", '"",'),
    "escapes in a launcher": (_LAUNCHER, "%252525"),
    "launchers": (_LAUNCHER, _LAUNCHER),
    "coordinates": ("https://teams.microsoft.com/light-meetings/launch?coords=", "W1tb"),
    "escaped coordinates": ("https://teams.microsoft.com/light-meetings/launch?coords=", "%2541"),
    "escapes in a safe link": (_SAFE, "%25"),
    "dashes in a link of Proofpoint": ("https://urldefense.proofpoint.com/v2/url?d=1&u=", "-2541"),
    "stars in a link of Proofpoint": ("https://urldefense.com/v3/__https://", "*"),
    "pairs of stars in a link of Proofpoint": ("https://urldefense.com/v3/__https://", "a**A"),
    "marks in a link of Proofpoint": ("https://urldefense.com/v3/__https://", "__;"),
    "base64 in a link of Sophos": ("https://x.protection.sophos.com/?u=", "aHR0"),
    "slashes behind a link of Cisco": ("https://secure-web.cisco.com/1/", "https%3A%2F%2F"),
    "segments of a Jitsi": ("https://meet.jit.si/", "a/"),
    "escaped segments of a Jitsi": ("https://jitsi.example/", "%2e/"),
    "segments of an event": ("https://events.zoom.us/", "a/"),
    "hosts under apps": ("https://", "a.mcas.ms."),
    "a long host": ("https://", "a."),
    "dashes in a host": ("https://a", "-"),
    "a port": ("https://zoom.us:", "1"),
    "users": ("https://", "a@"),
    "brackets as host": ("https://[", ":"),
    "letters in a host": ("https://", "é"),
    "a register page": ("https://zoom.us/webinar/register/", "a/"),
    "a nickname": ("https://meet.google.com/", "a-"),
    "digits": ("https://zoom.us/j/", "1"),
}


def _safe_links(size: int) -> str:
    return _wrapped(_ZOOM, size, lambda link: f"{_SAFE}{quote(link, safe='')}")


def _google_links(size: int) -> str:
    return _wrapped(_ZOOM, size, lambda link: f"https://www.google.com/url?q={quote(link, safe='')}")


def _encoded(size: int) -> str:
    return _wrapped(_ZOOM, size, lambda link: quote(link, safe=""))


def _coordinates(size: int) -> str:
    text = base64.b64encode(json.dumps({"meetingCode": "1" * max(1, (size - 200) * 3 // 4)}).encode()).decode()
    return f"https://teams.microsoft.com/light-meetings/launch?coords={text}"


def _wrapped(link: str, size: int, wrap: Callable[[str], str]) -> str:
    while len(longer := wrap(link)) <= size and longer != link:
        link = longer
    return link


_LAYERED: Final[dict[str, Callable[[int], str]]] = {
    "safe links in each other": _safe_links,
    "redirects in each other": _google_links,
    "layers of escapes": _encoded,
    "long coordinates": _coordinates,
}

_JOB: Final = json.dumps({"meeting_link": _MEET})[:-1]
# What the job begins with, what is repeated, what it ends with.
_DOCUMENTS: Final[dict[str, tuple[str, str, str]]] = {
    "a list of numbers": (f'{_JOB}, "x": [', "1,", "1]}"),
    "a list of lists": (f'{_JOB}, "x": [', "[],", "[]]}"),
    "a list of objects": (f'{_JOB}, "x": [', "{},", "{}]}"),
    "a list of objects with a key": (f'{_JOB}, "x": [', '{"a":1},', "{}]}"),
    "a list of strings": (f'{_JOB}, "x": [', '"",', '""]}'),
    "a list of escapes": (f'{_JOB}, "x": [', '"\\\\",', '""]}'),
    "a list of half pairs": (f'{_JOB}, "x": [', '"\\ud83d\\ude00",', '""]}'),
    "a list of deep lists": (f'{_JOB}, "x": [', "[" * 40 + "]" * 40 + ",", "[]]}"),
    "a list of deep objects": (f'{_JOB}, "x": [', '{"a":' * 40 + "1" + "}" * 40 + ",", "[]]}"),
    "a list of small numbers": (f'{_JOB}, "x": [', "1e-5,", "1]}"),
    "a list of long numbers": (f'{_JOB}, "x": [', "1" * 4000 + ",", "1]}"),
    "a list of words": (f'{_JOB}, "x": [', "null,true,false,", "1]}"),
    "a list of NaN": (f'{_JOB}, "x": [', "NaN,", "1]}"),
    "an attribute that is a list": (f'{_JOB}, "custom_attributes": {{"x": [', "[1,{}],", "1]}}"),
    "an attribute of strings": (f'{_JOB}, "custom_attributes": {{"x": [', '"é\\n",', "1]}}"),
    "brackets in strings": (f'{_JOB}, "x": "', "[{", '"}'),
    "quotes in strings": (f'{_JOB}, "x": "', '\\"', '"}'),
    "backslashes in strings": (f'{_JOB}, "x": "', "\\\\", '"}'),
    "half pairs in strings": (f'{_JOB}, "x": "', "\\ud83d", '"}'),
    "space": (f"{_JOB}", " ", "}"),
    "opening brackets only": ("", "[", ""),
    "closing brackets only": ("", "]", ""),
    "quotes only": ("", '"', ""),
    "backslashes only": ('"', "\\", ""),
    "a job as deep as is taken": (f'{_JOB}, "x": ' + "[" * (MAX_DEPTH - 1), "1,", "1" + "]" * (MAX_DEPTH - 1) + "}"),
    "names for participants": (
        f'{_JOB}, "automatic_leave": {{"bot_detection": {{"using_participant_names": {{"matches": [',
        '"a",',
        '"a"]}}}}',
    ),
    "the same key": (_JOB, ', "a": 1', "}"),
    "a long key": (f'{_JOB}, "', "k", '": 1}'),
    "a long name": (f'{_JOB}, "bot_name": "', "n", '"}'),
    "a long address": (f'{_JOB}, "callback_url": "https://', "a.", '"}'),
    "a long time": (f'{_JOB}, "join_at": "', "1", '"}'),
    "a long id": (f'{_JOB}, "bot_id": "', "a", '"}'),
    "a long key for duplicates": (f'{_JOB}, "deduplication_key": "', "é", '"}'),
}
NO_JSON: Final = frozenset(
    {"opening brackets only", "closing brackets only", "quotes only", "backslashes only", "brackets in strings"}
)
"""A text whose brackets are no objects."""


def odd_keys(size: int) -> Hostile:
    """A job with as many different keys as fit."""
    document: dict[str, Any] = {"meeting_link": _MEET}
    document |= {f"k{at}": at for at in range(max(1, size // 16))}
    return Hostile("odd keys", json.dumps(document).encode())
