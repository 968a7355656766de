"""Shows on a terminal what an end reason means for an operator, and what to do about it."""

import re
from typing import Final

from common.wire.vocabulary import Meaning, Reason

_LINK: Final = re.compile(r"\[([^\]]*)\]\(([^)]*)\)")


def meaning_of(reason: str) -> Meaning | None:
    """The meaning of a reason for a terminal, with links as names of documents; None: an unknown reason."""
    try:
        found = Reason(reason).end.meaning
    except ValueError:
        return None
    return Meaning(_plain(found.what), _plain(found.do)) if found else None


def _plain(text: str) -> str:
    return _LINK.sub(_named, text).replace("`", "")


def _named(link: re.Match[str]) -> str:
    text, target = link.groups()
    if target.startswith("#"):
        return f'"{text}" in docs/operations.md'
    return text if text.startswith("docs/") else f"{text} (docs/{target})"
