"""Finds where links begin and end in a text. Knows no platform.

Its time is bounded for any text: at most MOST_LINKS places are read, each character a bounded number of times. The
expressions below repeat one class of characters up to a limit, or can match in one way only.
"""

from __future__ import annotations

import binascii
import html
import re
import unicodedata
from collections.abc import Iterator
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import unquote

from common.errors import PoolmgrError

MAX_LINK_LENGTH = 4096
MOST_LINKS = 24
"""Places in a text of 16 KB; invitations have a dozen."""
MOST_PARAMETERS = 64
_USUAL_LENGTH = 256
_WIDE = 60  # characters; a longer line may have been broken. Mail breaks at 65 to 80, iCalendar at 75
_MOST_ODD_ESCAPES = 64
_MOST_CLOSERS = 32
_MOST_LINES = 40  # of one link that was broken

INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u2060\u2066\u2067\u2068\u2069\ufeff"
"""Invisible characters that copying leaves at the ends of a link."""
_ENDS = ".,;:!?…”’»>。、，．！？；：*" + INVISIBLE
_CLOSERS = MappingProxyType(
    {
        '"': '"',
        "'": "'",
        "“": "”",
        "‘": "’",
        "„": "“",
        "«": "»",
        "(": ")",
        "[": "]",
        "{": "}",
        "`": "`",
        "（": "）",
        "「": "」",
        "『": "』",
        "【": "】",
        "《": "》",
        "〈": "〉",
        "［": "］",
        "\u202a": "\u202c",
        "\u202d": "\u202c",
        "\u2066": "\u2069",
        "\u2068": "\u2069",
        "\u200b": "\u200b",
    }
)
_OPENERS = MappingProxyType({")": "(", "]": "[", "}": "{", "）": "（", "」": "「", "】": "【", "》": "《"})
_PAIRED = frozenset((*_OPENERS, '"', "'"))
_HOST_CHARS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-"

# One character to search for, then one class of characters with a limit.
_TLD = re.compile(r"\.[A-Za-z]{2,24}/")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NO_QUOTED_PRINTABLE = re.compile(r"=(?![0-9A-Fa-f]{2}|\n)")
# One repeated class, then an optional part: no backtracking.
_NEXT_LINE = re.compile(r"[ \t]{0,4}\n[ \t]{0,4}([!#-;=?-z}~]{1,4096})([ \t]{0,4}(?:\n|\Z))?")
_BESIDE = re.compile(r"[^\S\n]{1,8}(\S{1,40})")
_INLINE = re.compile(r"(?:</?(?:span|b|i|u|em|strong|font|mark|s)(?:[ \t][^<>]{0,200})?>){1,4}[A-Za-z0-9_.~%&=+/-]")


class BadLinkError(PoolmgrError, ValueError):
    """The text has no usable meeting link. The message says what to change, and quotes at most a host."""


class Piece(NamedTuple):
    """A link in a text, from `start` to `stop`. `closed`: the text around it shows where it ends."""

    start: int
    stop: int
    link: str
    closed: bool


class Undressed(NamedTuple):
    """A link without what surrounds it. `closed`: a character that cannot be in a link ended it. `is_cut`: dots show
    that the rest is missing.
    """

    link: str
    closed: bool = False
    is_cut: bool = False


class Continued(NamedTuple):
    """A link joined with its next lines. `likely`: the lines look as if the link was broken for its length. `closed`:
    the bracket around the link closes there.
    """

    link: str
    likely: bool
    closed: bool


def unquoted(text: str) -> str:
    """`text` with its percent-encoding undone, as by `urllib.parse.unquote`, in a fiftieth of the time.

    Raises: BadLinkError for more than 64 incomplete escapes.
    """
    if "%" not in text:
        return text
    if "\n" in text or _NO_ESCAPE.search(text):
        if text.count("%") > _MOST_ODD_ESCAPES:
            raise BadLinkError("the link is encoded wrongly: it has % without two hexadecimal digits")
        return unquote(text)
    return binascii.a2b_qp(text.replace("=", "=3D").replace("%", "=").encode(errors="replace")).decode(errors="replace")


# Encodings of the whole text


def carried(text: str) -> str:
    """`text` without the encodings of iCalendar, quoted-printable, JSON and HTML."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    # Looking for one character takes a tenth of the time of looking for several.
    if "\n" in text and "BEGIN:V" in text:
        text = text.replace("\n ", "").replace("\n\t", "")
    if "\\" in text:
        if ":\\/\\/" in text:
            text = text.replace("\\/", "/").replace("\\u0026", "&")
        text = text.replace("\\n", "\n").replace("\\N", "\n").replace("\\,", ",").replace("\\;", ";")
    if (
        "=" in text
        and "\n" in text
        and "=\n" in text
        and ("=3D" in text or "=3d" in text)
        and not _NO_QUOTED_PRINTABLE.search(text)
    ):
        text = binascii.a2b_qp(text.encode(errors="replace")).decode(errors="replace")
    if "&" in text and "&#" in text:
        for number, character in _PUNCTUATION:
            text = text.replace(f"&#{number};", character).replace(f"&#x{number:X};", character)
    if "<" in text and "<wbr" in text:
        text = text.replace("<wbr>", "").replace("<wbr/>", "").replace("<wbr />", "")
    return text


_PUNCTUATION = tuple((ord(character), character) for character in ":/?=.")  # templates encode these in a link


# Where links begin and end


def links_in(text: str, most: int = MOST_LINKS) -> Iterator[Piece]:
    """Every place in the text where a link starts, with or without scheme. Raises: BadLinkError for more than
    `most`.
    """
    place = looked = 0
    colon = text.find("://")
    while True:
        if 0 <= colon < place:
            colon = text.find("://", place)
        tld = _TLD.search(text, place, len(text) if colon < 0 else colon)
        if not tld and colon < 0:
            return
        looked += 1
        if looked > most:
            raise BadLinkError(f"the text holds more than {most} links; send the one that is meant")
        start = _host_start(text, place, tld.start()) if tld else _scheme_start(text, place, colon)
        place = tld.end() if tld else colon + 3
        if start >= 0 and not _is_glued(text, start):
            piece = _piece(text, start)
            place = max(place, piece.stop)
            yield piece


def _host_start(text: str, place: int, dot: int) -> int:
    """The index at which a host with a top level domain starts; -1 if there is none."""
    window = text[max(place, dot - 253) : dot]
    host = window[len(window.rstrip(_HOST_CHARS)) :].lstrip("-.")
    return dot - len(host) if host else -1


def _scheme_start(text: str, place: int, colon: int) -> int:
    """The index at which a scheme before a colon starts; -1 if it is neither http nor https."""
    scheme = text[max(place, colon - 5) : colon].lower()
    if not scheme.endswith(("https", "http")):
        return -1
    return colon - (5 if scheme == "https" else 4)


def _is_glued(text: str, start: int) -> bool:
    """Whether a link would begin in the middle of a word, or of another link."""
    before = text[start - 1 : start]
    if not before:
        return False
    if before in "-_":
        return text[start - 2 : start - 1].isalnum()
    return before in "@/%+" or (before.isalnum() and unicodedata.category(before) != "Lo")


def _piece(text: str, start: int) -> Piece:
    token = text[start : start + _USUAL_LENGTH].split(None, 1)[0]
    if len(token) == _USUAL_LENGTH:
        token = text[start : start + MAX_LINK_LENGTH + 1].split(None, 1)[0]
    opener, closed = text[start - 1 : start], False
    for mark in "<>":
        token = token.partition(mark)[0]
    if len(token) > MAX_LINK_LENGTH:
        raise BadLinkError(f"the link is longer than {MAX_LINK_LENGTH} characters")
    if opener == "<":
        closed = text[start + len(token) : start + len(token) + 1] == ">"
    closer = _CLOSERS.get(opener)
    if closer and closer in token:
        token = token[: token.rindex(closer) if opener in token else token.index(closer)]
        closed = True
    elif opener and opener in "_~" and token.rstrip(_ENDS).endswith(opener):
        token, closed = token.rstrip(_ENDS).rstrip(opener), True
    if "|" in token:  # <link|label>, or a table
        token, closed = token.partition("|")[0], True
    return Piece(start, start + len(token), token, closed)


def undressed(link: str, *, in_text: bool) -> Undressed:
    """The link without traces of HTML and quoted-printable. `in_text`: also without the end of the sentence or bracket.

    Raises: BadLinkError where it is uncertain what belongs to the link.
    """
    closed = False
    for _ in range(4 if "&" in link else 0):
        if "&amp;" not in link and "&#38;" not in link:
            break
        link = link.replace("&amp;", "&").replace("&#38;", "&")
    if link.count("&") > MOST_PARAMETERS:
        raise BadLinkError(f"the link has more than {MOST_PARAMETERS} parameters")
    if "&" in link and (entity := _ENTITY.search(link)):
        character = html.unescape(entity[0])
        if not (character.isspace() or character in INVISIBLE or character in "<>\"'|"):
            raise BadLinkError(
                "the link has a character in it that is written as HTML; send it as the browser shows it"
            )
        link, closed = link[: entity.start()], True
    if "|" in link:
        link, closed = link.partition("|")[0], True
    link = _without_quoted_printable(link)
    whole = link
    link = without_end(link) if in_text else link.rstrip(INVISIBLE)
    return Undressed(link, closed, is_cut(whole[len(link) :]))


def is_cut(end: str) -> bool:
    """Whether the characters at a link's end (such as dots) say that the link was cut."""
    return "…" in end or ".." in end


def _without_quoted_printable(link: str) -> str:
    """The link with quoted-printable decoded, where it certainly is that.

    Raises: BadLinkError for a single `=3D`, which may also be the beginning of a passcode.
    """
    quoted = link.count("=3D") + link.count("=3d") if "=" in link else 0
    if not quoted or link.count("=") > quoted:
        return link
    if quoted == 1:
        raise BadLinkError(
            "the link has =3D in it, as mail writes an equals sign: write = for it, or =%33D if a value begins with 3D"
        )
    return link.replace("=3D", "=").replace("=3d", "=")


def without_end(link: str) -> str:
    """The link without the end of the sentence, and without the closing brackets of those opened before it.

    Raises: BadLinkError for an absurd number of brackets.
    """
    counts: dict[str, int] = {}
    for _ in range(_MOST_CLOSERS):
        link = link.rstrip(_ENDS)
        last = link[-1:]
        if not last or last not in _PAIRED:
            return link
        if last not in counts:
            opener = _OPENERS.get(last)
            counts[last] = link.count(last) - link.count(opener) if opener else link.count(last) % 2
        if counts[last] <= 0:
            return link
        counts[last] -= 1
        link = link[:-1]
    raise BadLinkError(f"more than {_MOST_CLOSERS} brackets or quotes end the link")


# Text after a link


def continued(text: str, piece: Piece, *, unfolded: bool = False) -> Continued | None:
    """The link joined with the next lines, if they can belong to it. `unfolded`: how wide a line is says nothing."""
    if text[piece.stop : piece.stop + 1] not in ("\n", " ", "\t") or "\n" not in text[piece.stop : piece.stop + 5]:
        return None
    bracket = text[piece.start - 1 : piece.start] if piece.start else ""
    line = text.rfind("\n", max(0, piece.start - _WIDE), piece.start)
    width = 0 if unfolded else piece.stop - (line + 1 if line >= 0 else max(0, piece.start - _WIDE))
    joined, place, likely, closed = piece.link, piece.stop, False, False
    for number in range(_MOST_LINES):
        found = _NEXT_LINE.match(text, place)
        if not found or not _is_more(found[1]):
            break
        if joined.endswith("=") and ("=3D" in text or (width >= _WIDE and bracket != "<")):
            # quoted-printable in a part of the text
            return Continued(piece.link, likely=True, closed=False)
        end = found.end(1)
        alone = found[2] is not None
        closed = bracket in ("<", '"') and text[end : end + 1] == _CLOSERS.get(bracket, ">")
        if number == 0:
            likely = (
                closed
                or bracket == "<"
                or (width >= _WIDE and (alone or _is_no_word(found[1])))
                or _has_parameter(found[1])
            )
        joined += found[1]
        place = end
        if len(joined) > MAX_LINK_LENGTH or closed or not alone or (len(found[1]) < _WIDE and bracket != "<"):
            break
    if joined == piece.link or len(joined) > MAX_LINK_LENGTH:
        return None
    return Continued(joined, likely, closed)


def _is_more(token: str) -> bool:
    """Whether a line's first word can belong to a link: it is not another link, a label, or a line of dashes."""
    return "://" not in token and not token.endswith(":") and any(map(str.isalnum, token[:8]))


def _is_no_word(token: str) -> bool:
    """Whether a line does not continue with words or with a telephone number."""
    word = token.strip(",.;:!?()'\"")
    return not (word.isalpha() and word[1:] in (word[1:].lower(), word[1:].upper())) and token[0] != "+"


def _has_parameter(token: str) -> bool:
    return "=" in token and ("?" in token or "&" in token)


def beside(text: str, piece: Piece) -> tuple[str, bool]:
    """The next word on the link's own line, and whether it is the last word there."""
    found = _BESIDE.match(text, piece.stop)
    if not found:
        return "", False
    return found[1], text[found.end() : found.end() + 8].strip(" \t")[:1] in ("", "\n")


def runs_into_tag(text: str, piece: Piece) -> bool:
    """Whether an HTML tag follows that only changes the look of the text, so that the link may continue after it."""
    return text[piece.stop : piece.stop + 1] == "<" and _INLINE.match(text, piece.stop) is not None


def ends_before(character: str) -> bool:
    """Whether this character ends an ASCII link: it is punctuation, or of a script without spaces."""
    category = unicodedata.category(character)
    return category == "Lo" or category[0] in "PSZ"


def is_no_letter(character: str) -> bool:
    return unicodedata.category(character)[0] not in "LMN"
