"""A look at a live bot: the manager's request to an agent while somebody looks, and the agent's answer.

Both are published and never stored: Redis passes them to the subscribers of that moment, and keeps nothing in memory or
on disk.
"""

from typing import Final

import msgspec

EVERY_S: Final = 1.0
"""Seconds between two pictures of a bot."""
ASKED_EVERY_S: Final = 2.0
LOOKED_AT_S: Final = 5.0
"""An agent stops taking pictures when it was not asked for this long, in seconds."""
MOST_BYTES: Final = 512 * 1024
"""The largest picture, in bytes."""


class Look(msgspec.Struct, frozen=True):
    """Show this bot's page for LOOKED_AT_S from now."""

    bot_id: str


class Picture(msgspec.Struct, frozen=True):
    """What a bot's page shows at `at` (epoch seconds, the VM's clock). `jpeg` is empty if there is no picture; then
    `why` says why, for people.
    """

    at: float
    worker_id: str = ""
    jpeg: bytes = b""
    why: str = ""


_looks = msgspec.msgpack.Decoder(Look)
_pictures = msgspec.msgpack.Decoder(Picture)


def encode(message: Look | Picture) -> bytes:
    return msgspec.msgpack.encode(message)


def decode_look(data: bytes) -> Look:
    """Raises: msgspec.DecodeError."""
    return _looks.decode(data)


def decode_picture(data: bytes) -> Picture:
    """Raises: msgspec.DecodeError."""
    return _pictures.decode(data)
