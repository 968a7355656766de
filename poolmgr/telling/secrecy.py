"""Hides meeting links and passcodes in what is shown, because they give access to the meeting.

In doubt it hides a text.
"""

import json
import re
from typing import Any, Final, cast

import msgspec

from common.config.masking import HIDDEN
from common.jobs.record import Record
from common.links.redaction import redact

_LINK_FIELDS: Final = frozenset({"meeting_link", "meeting_url", "callback_url"})
_SECRET_FIELD: Final = re.compile(
    r"passcode|passw|pwd|secret|token|apikey|privatekey|authorization|^pass$|^(meeting)?pin$|^zak"
)
"""Words in the names of fields with secrets. Case, spaces, dashes and underscores of a name do not count."""
_OURS: Final = frozenset({"reason_detail", "failure_detail", "status_reason", "failure", "screen", "rule", "warnings"})
"""Texts of this project about passcodes, which contain no passcode."""
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
_WORD: Final = (
    r"pass[\s_-]?(?:code|wor[dt]|phrase|wd)|pwd|(?:access|entry|meeting)[\s_-]?(?:code|pin)|\bpin(?:[\s_-]?code)?"
    r"|secret|token|kenn(?:code|wort)|zugangscode|mots?\sde\spasse|code\s(?:secret|d.acc[eè]s)"
    r"|contrase[nñ]a|c[oó]digo\sde\sacce?s+o"
    r"|senha|wachtwoord|toegangscode|codice\sd.accesso|пароль|код\sдоступа|パスコード|パスワード|密码|密碼|암호|비밀번호"
)
"""Words for a passcode in invitations and clients' texts."""
_SECRET: Final = re.compile(
    rf"""(?P<name>(?:{_WORD})[\\"'*_]{{0,4}})"""
    r"""(?:\s{0,4}(?:(?:is[t]?|est?)\s{0,4})?[:=:][\s\\"'*_]*|\s(?:is[t]?|est?)\s|\s{1,4}(?=\S*\d))[^\r\n]+"""
    r"|(?P<dial>,{2,})[\d*#,]+",  # a telephone number with id and passcode: ,,ID#,,,,*PASSCODE#
    re.IGNORECASE,
)
_LONGEST_TEXT: Final = 4096
"""Characters of free text; the rest is cut, because looking for links in it takes time."""


def hide_link(link: str) -> str:
    """The link's scheme and host, without its secrets."""
    return redact(link.replace("\\/", "/"))


def hide_links(text: str) -> str:
    """Free text with every link in it redacted, also one without `https://`."""

    def hidden(found: re.Match[str]) -> str:
        return hide_link(found[0]) if found["scheme"] else f"{found['host']}/…"

    return _LINK.sub(hidden, text[:_LONGEST_TEXT])


def hide_secrets(text: str) -> str:
    """A client's free text without links, and without passcodes: after a word for a passcode the rest of the line is
    hidden.
    """
    return _SECRET.sub(lambda found: f"{found['name']}: {HIDDEN}" if found["name"] else HIDDEN, hide_links(text))


def hide_links_in_record(record: Record) -> Record:
    """A session record without secrets: all links are redacted, the client's payload is left out."""
    fields = msgspec.to_builtins(msgspec.structs.replace(record, payload=""))
    return msgspec.convert(
        {name: _without_links(value, name) if value else value for name, value in fields.items()}, Record
    )


def hide_links_in_payload(payload: str) -> str:
    """A pushed job without secrets, whether it is JSON or not."""
    try:
        shown = json.dumps(_without_links(json.loads(payload)), ensure_ascii=False)
        return shown.encode(errors="backslashreplace").decode()  # halves of surrogate pairs cannot be printed
    except (ValueError, RecursionError):
        return hide_secrets(payload)


def hide_in(document: Any) -> Any:
    """The JSON document with its secrets hidden. A field's name or a text's look tells that it is one."""
    return _without_links(document)


def _without_links(value: Any, name: str = "") -> Any:
    if _is_secret(name):
        return HIDDEN
    if isinstance(value, dict):
        members = cast(dict[str, Any], value)
        return {hide_secrets(key): _without_links(member, key) for key, member in members.items()}
    if isinstance(value, list):
        return [_without_links(item, name) for item in cast(list[Any], value)]
    if isinstance(value, str):
        return _hidden(value, name)
    return value


def _hidden(value: Any, name: str) -> str:
    if _is_secret(name):
        return HIDDEN
    if name == "custom_attributes" and isinstance(value, str):  # in a record it is JSON text, and has to stay JSON
        return hide_links_in_payload(value)
    if name in _OURS:
        return hide_links(value)
    return hide_link(value) if name in _LINK_FIELDS else hide_secrets(value)


def _is_secret(name: str) -> bool:
    return bool(_SECRET_FIELD.search(re.sub(r"[\s_-]", "", name.lower())))
