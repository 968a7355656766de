"""Hides what evidence must not contain: everything that lets somebody into the meeting, and what the bot said in it.

It hides too much rather than too little: every address loses its path, and every e-mail address is hidden. hide.js uses
the same expressions in the page before a picture is taken, so they use only syntax that Python and JavaScript share.
"""

import html
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from common.wire.messages import Join

HIDDEN: Final = "[hidden]"

_SHORTEST_PIECE: Final = 5
"""Characters. A shorter piece of a link's path is no secret, but a word such as `join`."""
_SHORTEST_LOOSE: Final = 5
"""Characters. A shorter secret is hidden only where it stands alone: four digits are part of many other texts."""
_WORDS: Final = frozenset(
    {
        *("about", "browser", "call", "calls", "channel", "client", "guest", "home", "index", "invite", "launch"),
        *("launcher", "light", "live", "login", "lobby", "lookup", "main", "meet", "meeting", "meetings"),
        *("meetup-join", "modern", "personal", "register", "room", "rooms", "start", "teams", "thread", "token"),
        *("true", "false", "video", "webclient", "webinar"),
    }
)
"""Pieces of links that are no secrets."""

_SHORTEST_LINE: Final = 4

_STRIDE: Final = 2048
"""Characters of a text that are searched at once. Python's search lets no other thread run meanwhile."""
_LONGEST_PATTERN: Final = 1024
"""Characters that one of PATTERNS looks at before it is sure to match."""

_URL: Final = r"[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s'<>\x22]+"
_BARE_URL: Final = r"(?<![A-Za-z0-9-])[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}(?::\d{1,5})?/[^\s'<>\x22]+"
_EMAIL: Final = r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}"
_JWT: Final = r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?"
_NAMED: Final = (
    r"(?:pass ?code|password|passwd|pwd|secret|access_token|id_token|refresh_token|token|jwt|bearer|authorization"
    r"|api_?key|tk|zak|sid)['\x22]?\s*[:=]\s*['\x22]?[^\s'<>&,;\x22]{3,}"
)
PATTERNS: Final = (_URL, _BARE_URL, _EMAIL, _JWT, _NAMED)


class Secrets:
    """The secrets of one bot. `also`: further links of its meeting, such as the platform's page for browsers.

    What hides them is compiled when it is first needed. It takes milliseconds, in which a bot would wait to join, and
    of most bots nothing is ever hidden.
    """

    def __init__(self, join: Join, also: Iterable[str] = ()) -> None:
        self._secrets: set[str] = set()
        self._compiled: re.Pattern[str] | None = None
        for link in (join.meeting_url, *also):
            self._secrets |= {link, *_of_link(link)}
        self.add({*_of_text(join.message), *_of_text(join.passcode), *self._secrets})

    def add(self, values: Iterable[str]) -> None:
        """Further secrets, such as what was typed into a password field."""
        self._secrets = {value for value in (*self._secrets, *values) if value.strip()}
        self._compiled = None

    @property
    def expressions(self) -> list[str]:
        """What is hidden, as regular expressions of both Python and JavaScript."""
        literals = sorted({form for secret in self._secrets for form in _forms(secret)}, key=len, reverse=True)
        return [*map(_literal, literals), *PATTERNS]

    def hide(self, text: str) -> str:
        """`text` with the secrets hidden. Of an address the host is left. Surrogate halves become question marks.

        Takes some 0.4 µs a character, and up to ten times that for a text that is made for it. For long texts it is
        called in a thread: it lets the event loop run every few milliseconds.
        """
        expressions = self.expressions
        if self._compiled is None:
            any_of_them = "|".join(f"(?:{expression})" for expression in expressions)
            self._compiled = re.compile(any_of_them, re.IGNORECASE)
        text = text.encode(errors="replace").decode()
        reach = max(_LONGEST_PATTERN, *map(len, expressions))  # spaces aside, none is shorter than its match
        parts: list[str] = []
        at = 0
        for found in _matches(self._compiled, text, reach):
            parts += text[at : found.start()], _hidden(found)
            at = found.end()
        return "".join((*parts, text[at:]))


def _matches(compiled: re.Pattern[str], text: str, reach: int) -> Iterator[re.Match[str]]:
    """All matches, as `finditer` finds them. `reach`: after so many characters it is known whether there is one."""
    at = 0
    while at < len(text):
        end = at + _STRIDE + reach
        found = compiled.search(text, at, end)
        while found and found.end() == end < len(text):  # it may go on
            end += end - at
            found = compiled.search(text, at, end)
        if found and found.start() < at + _STRIDE:
            yield found
            at = found.end()
        else:
            at += _STRIDE


def _hidden(found: re.Match[str]) -> str:
    text = found[0]
    scheme, there, rest = text.partition("://")
    if there and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]{1,20}", scheme):
        host = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
        return f"{scheme}://{host}/{HIDDEN}"
    return HIDDEN


def _of_text(text: str) -> Iterator[str]:
    yield text
    yield from (line.strip() for line in text.splitlines() if len(line.strip()) >= _SHORTEST_LINE)


def _of_link(link: str) -> Iterator[str]:
    """The secrets in a link: pieces of its path, and the values of its query and fragment."""
    try:
        parts = urlsplit(link)
    except ValueError:
        return
    if parts.hostname:
        yield f"{parts.netloc}{parts.path}"
    for piece in re.split(r"[/;]", parts.path):
        word = unquote(piece)
        if len(word) >= _SHORTEST_PIECE and word.lower() not in _WORDS:
            yield from {piece, word}
    for text in (parts.query, parts.fragment):
        for _, value in parse_qsl(text):
            if len(value) >= _SHORTEST_LINE and value.lower() not in _WORDS:
                yield value


def _forms(secret: str) -> set[str]:
    """The ways in which a secret may be written: as it is, in an address, in HTML."""
    return {secret, quote(secret, safe=""), quote(secret), html.escape(secret)}


def _literal(text: str) -> str:
    if text.isdecimal() and len(text) >= 9:  # meeting ids are shown in groups
        return r"[\s-]?".join(text)
    escaped = re.sub(r"[.*+?^${}()|\[\]\\/]", r"\\\g<0>", text)
    spaced = re.sub(r"\s+", r"\\s+", escaped)
    return spaced if len(text) >= _SHORTEST_LOOSE else rf"(?<![A-Za-z0-9]){spaced}(?![A-Za-z0-9])"
