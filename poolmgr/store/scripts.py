"""The Lua scripts, loaded once from lua/*.lua and called by digest. What each does stands in its first lines."""

import hashlib
from importlib import resources
from typing import Final

from redis.asyncio import Redis

from poolmgr.store import record

_FOLDER: Final = resources.files("poolmgr.store") / "lua"
_UNFENCED: Final = frozenset({"lead", "put_back", "resign", "take"})
_NAMES: Final = (
    "accept", "ask", "assign", "end", "forget_vm", "keep_vm",
    "lead", "move", "note", "order", "put_back", "reject", "resign", "revoke", "take",
)  # fmt: skip


def _source(name: str) -> bytes:
    body = (_FOLDER / f"{name}.lua").read_bytes()
    if name == "accept":
        body = _blank_record() + body
    return body if name in _UNFENCED else (_FOLDER / "_fence.lua").read_bytes() + body


def _blank_record() -> bytes:
    values = ", ".join(f"'{part}'" for pair in record.BLANK.items() for part in pair)
    return f"local BLANK = {{{values}}}\n".encode()


SOURCES: Final[dict[str, bytes]] = {name: _source(name) for name in _NAMES}
DIGESTS: Final[dict[str, str]] = {name: hashlib.sha1(source).hexdigest() for name, source in SOURCES.items()}  # noqa: S324 - Redis names scripts by SHA-1


async def load_scripts(redis: Redis) -> None:
    """After this every script can be called by its digest, until Redis restarts. Idempotent."""
    for source in SOURCES.values():
        await redis.script_load(source)  # pyright: ignore[reportArgumentType]  # bytes are taken as they are
