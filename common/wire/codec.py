"""Messages to bytes and back. They are JSON, so that a person can read them with `redis-cli XRANGE`."""

from typing import Final, TypeVar

import msgspec

from common.errors import PoolmgrError
from common.wire.messages import Command, Event

_T = TypeVar("_T")

FIELD: Final = "m"
"""The stream field that holds the message."""

_encoder = msgspec.json.Encoder()
_commands: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)
_events: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


class UndecodableError(PoolmgrError, ValueError):
    """A stream entry is no message of this release. It may be of a newer release, or written by hand."""


def encode(message: Command | Event) -> bytes:
    return _encoder.encode(message)


def decode_command(raw: bytes) -> Command:
    """Raises: UndecodableError."""
    return _decode(_commands, raw)


def decode_event(raw: bytes) -> Event:
    """Raises: UndecodableError."""
    return _decode(_events, raw)


def _decode(decoder: msgspec.json.Decoder[_T], raw: bytes) -> _T:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UndecodableError(f"cannot read the message: {error}") from error
