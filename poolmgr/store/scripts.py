"""The Lua scripts, loaded once from lua/*.lua and called by digest. What each does stands in its first lines."""

import hashlib
from importlib import resources
from typing import Final

from redis.asyncio import Redis

_FOLDER: Final = resources.files("poolmgr.store") / "lua"
_UNFENCED: Final = frozenset({"lead", "put_back", "resign", "take"})
_NAMES: Final = (
    "accept", "ask", "assign", "end", "forget_vm", "keep_vm",
    "lead", "move", "note", "order", "put_back", "reject", "resign", "revoke", "take",
)  # fmt: skip


def _source(name: str) -> bytes:
    body = (_FOLDER / f"{name}.lua").read_bytes()
    return body if name in _UNFENCED else (_FOLDER / "_fence.lua").read_bytes() + body


SOURCES: Final[dict[str, bytes]] = {name: _source(name) for name in _NAMES}
DIGESTS: Final[dict[str, str]] = {name: hashlib.sha1(source).hexdigest() for name, source in SOURCES.items()}  # noqa: S324 - Redis names scripts by SHA-1


async def load_scripts(redis: Redis) -> None:
    """After this every script can be called by its digest, until Redis restarts. Idempotent."""
    for source in SOURCES.values():
        await redis.script_load(source)  # pyright: ignore[reportArgumentType]  # bytes are taken as they are
