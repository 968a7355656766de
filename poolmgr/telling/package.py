"""Packs a bug report, without anything that gives access to a meeting or to the fleet.

First values are hidden by their names and by what they look like (poolmgr/telling/secrecy.py). Then the keys to these
bots' meetings are removed from all texts, also from those that other people wrote. In doubt a value is hidden. Pure.
"""

import io
import json
import re
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from common.config.masking import HIDDEN
from common.jobs.record import Record
from poolmgr.telling.secrecy import hide_in

_SHORTEST: Final = 4
"""Shorter words are not struck out: they are part of many others, and let nobody in."""
_PIECES: Final = re.compile(r"[^\s/?#&=;,@:]+")
_WORDS: Final = frozenset(
    {"meet", "meeting", "meetings", "launch", "light", "join", "true", "false", "room", "rooms", "teams", "live"}
)
_CLIENTS_OWN: Final = frozenset(
    {"user_id", "calendar_event_id", "custom_attributes", "deduplication_key", "bot_message", "payload"}
)
"""Fields of a record that only the client needs. They help nobody to find a fault."""
_LARGEST_MEMBER: Final = 16 * 1024 * 1024


class Secrets:
    """The words in these bots' records that give access to their meetings."""

    def __init__(self, records: Iterable[Record]) -> None:
        found = {word for record in records for word in _secrets_of(record)}
        self._words = sorted((word for word in found if len(word) >= _SHORTEST), key=len, reverse=True)

    def strike_out(self, text: str) -> str:
        for word in self._words:
            text = text.replace(word, HIDDEN)
        return text

    def document(self, value: Any) -> bytes:
        """The values as indented JSON, for people."""
        text = json.dumps(hide_in(value), indent=1, ensure_ascii=False)
        return self.strike_out(text).encode(errors="backslashreplace") + b"\n"

    def lines(self, values: Iterable[Any]) -> bytes:
        """The values as JSON, one a line."""
        lines = [json.dumps(hide_in(value), ensure_ascii=False) for value in values]
        return self.strike_out("".join(f"{line}\n" for line in lines)).encode(errors="backslashreplace")

    def evidence(self, bundle: bytes) -> bytes:
        """A bundle from whose texts the keys were removed once more. Empty if it cannot be read. Pictures stay as the
        agent painted them over.
        """
        out = io.BytesIO()
        try:
            with zipfile.ZipFile(io.BytesIO(bundle)) as was, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as again:
                for member in was.infolist():
                    if member.file_size > _LARGEST_MEMBER:
                        continue
                    data = was.read(member)
                    if not member.filename.endswith((".jpg", ".png")):
                        data = self.strike_out(data.decode(errors="replace")).encode()
                    again.writestr(self.strike_out(member.filename), data)
        # the second error: a compression that zipfile does not know
        except (zipfile.BadZipFile, NotImplementedError, EOFError):
            return b""
        return out.getvalue()


def shareable(record: Record) -> dict[str, str]:
    """The record's fields that a report has: all but those that only the client needs."""
    return {name: text for name, text in record.texts().items() if name not in _CLIENTS_OWN}


def packed(folder: str, files: Mapping[str, bytes], at: float) -> bytes:
    """A .tar.gz with these files in `folder`; empty ones are left out. `at`: epoch seconds."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in files.items():
            if data:
                member = tarfile.TarInfo(f"{folder}/{name}")
                member.size, member.mtime, member.mode = len(data), int(at), 0o600
                archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def _secrets_of(record: Record) -> Iterator[str]:
    yield record.passcode
    yield record.bot_message
    for link in (record.meeting_url, record.callback_url):
        yield from _of_link(link)
    try:
        pushed: Any = json.loads(record.payload)
    except (ValueError, RecursionError):
        yield record.payload
    else:
        yield from _of_payload(pushed)


def _of_payload(value: Any, name: str = "") -> Iterator[str]:
    """Every link in it, and every value that hiding it would change."""
    if isinstance(value, dict):
        for key, member in cast(dict[str, Any], value).items():
            yield from _of_payload(member, key)
    elif isinstance(value, list):
        for member in cast(list[Any], value):
            yield from _of_payload(member, name)
    elif isinstance(value, str):
        if "://" in value:
            yield from _of_link(value)
        elif hide_in({name: value}) != {name: value}:
            yield value


def _of_link(link: str) -> Iterator[str]:
    """The link, the pieces of its path, and the values of its query."""
    if not link:
        return
    yield link
    try:
        parts = urlsplit(link)
    except ValueError:
        return
    yield parts.password or ""
    values = [value for _, value in parse_qsl(parts.query)] + [parts.query, parts.fragment]
    pieces = [piece for text in (parts.path, parts.fragment) for piece in _PIECES.findall(text)]
    for word in (*values, *pieces):
        for form in (word, unquote(word)):
            if form.lower() not in _WORDS:
                yield form
