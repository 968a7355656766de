"""What may be shown: a meeting link or a passcode lets one into the meeting.

Errs on the side of hiding. Nothing in here decides how a thing looks, only what is left of it.
"""

import json
import re
from typing import Any, Final, cast

from runtime.masking import HIDDEN
from wire.redaction import redact

_LINK_FIELDS: Final = frozenset({"meeting_link", "meeting_url", "callback_url"})
_SECRET_FIELDS: Final = frozenset({"passcode"})
_LINK: Final = re.compile(
    r"""
    (?P<scheme>[a-z][a-z0-9+.-]{1,20}:(?:\\?/){2})        # https:// and, in JSON, https:\/\/
    [^\s"'<>]+
  |
    (?P<host>[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,8}(?::\d{1,5})?)  # meet.example.org/abc, without a scheme
    \\?/[^\s"'<>]*
    """,
    re.IGNORECASE | re.VERBOSE,
)
_SECRET: Final = re.compile(rf"((?:{'|'.join(_SECRET_FIELDS)})[\\\"']*\s*[:=]\s*)[^,}}]+", re.IGNORECASE)
_LONGEST_TEXT: Final = 4096
"""Free text beyond this is cut: it is read by people, and looking for links in it takes time."""


def hide_link(link: str) -> str:
    """Where the link leads, without what lets one in."""
    return redact(link.replace("\\/", "/"))


def hide_links(text: str) -> str:
    """Free text with every link in it redacted, also one without `https://`."""

    def hidden(found: re.Match[str]) -> str:
        return hide_link(found[0]) if found["scheme"] else f"{found['host']}/…"

    return _LINK.sub(hidden, text[:_LONGEST_TEXT])


def hide_links_in_record(record: dict[str, str]) -> dict[str, str]:
    """A session record without its secrets: links redacted wherever they stand, the client's payload left out."""
    return {name: _hidden(value, name) if value else value for name, value in record.items() if name != "payload"}


def hide_links_in_payload(payload: str) -> str:
    """A job as it was pushed, without its secrets, whether it is JSON or not."""
    try:
        shown = json.dumps(_without_links(json.loads(payload)), ensure_ascii=False)
        return shown.encode(errors="backslashreplace").decode()  # half a surrogate pair, which no reader of ours takes
    except (ValueError, RecursionError):
        return _SECRET.sub(rf"\g<1>{HIDDEN}", hide_links(payload))


def _without_links(value: Any, name: str = "") -> Any:
    if name in _SECRET_FIELDS:
        return HIDDEN
    if isinstance(value, dict):
        members = cast(dict[str, Any], value)
        return {hide_links(key): _without_links(member, key) for key, member in members.items()}
    if isinstance(value, list):
        return [_without_links(item, name) for item in cast(list[Any], value)]
    if isinstance(value, str):
        return _hidden(value, name)
    return value


def _hidden(value: Any, name: str) -> str:
    if name in _SECRET_FIELDS:
        return HIDDEN
    return hide_link(value) if name in _LINK_FIELDS else hide_links(value)
