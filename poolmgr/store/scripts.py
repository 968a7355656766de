"""The Lua scripts, loaded once from lua/*.lua and called by digest. What each does stands in its first lines."""

import hashlib
from importlib import resources
from typing import Final

from redis.asyncio import Redis

from poolmgr.core.record import BLANK

STREAM_LIFE_S: Final = 604800
"""The end of a stream that nobody writes to: a week, as in lua/_fence.lua."""

_FOLDER: Final = resources.files("poolmgr.store") / "lua"
_UNFENCED: Final = frozenset(
    {"deliver_again", "lead", "put_back", "resign", "take", "forget", "hold", "submit", "withdraw"}
)
_STORY: Final = frozenset({"ask", "assign", "end", "move", "order", "recorded", "relate", "reschedule"})
_NAMES: Final = (
    "deliver_again", "deliver_bury", "deliver_done", "deliver_failed", "deliver_put",
    "accept", "acknowledge", "ask", "assign", "end", "forget", "forget_vm", "hand_in", "hand_in_once", "hold",
    "keep_vm", "lead", "move", "note", "note_chat", "note_participants", "order", "recorded", "relate",
    "put_back", "reject", "reschedule", "resign", "revoke", "submit",
    "take", "withdraw",
)  # fmt: skip


def _source(name: str) -> bytes:
    body = (_FOLDER / f"{name}.lua").read_bytes()
    if name == "accept":
        body = _blank_record() + body
    if name.startswith("deliver_"):
        body = (_FOLDER / "_line.lua").read_bytes() + body
    if name in ("hold", "submit"):
        body = (_FOLDER / "_meeting.lua").read_bytes() + body
    if name in _STORY:
        body = (_FOLDER / "_story.lua").read_bytes() + body
    return body if name in _UNFENCED else (_FOLDER / "_fence.lua").read_bytes() + body


def _blank_record() -> bytes:
    values = ", ".join(f"'{part}'" for pair in BLANK.items() for part in pair)
    return f"local BLANK = {{{values}}}\n".encode()


SOURCES: Final[dict[str, bytes]] = {name: _source(name) for name in _NAMES}
DIGESTS: Final[dict[str, str]] = {name: hashlib.sha1(source).hexdigest() for name, source in SOURCES.items()}  # noqa: S324 - Redis names scripts by SHA-1


async def load_scripts(redis: Redis) -> None:
    """After this every script can be called by its digest, until Redis restarts. Idempotent."""
    for source in SOURCES.values():
        await redis.script_load(source)  # pyright: ignore[reportArgumentType]  # bytes are taken as they are
