"""The frames of live sound, as the API's published clients expect them. Pure.

{"type": "ready", "bot_id": ..., "message": ...}      the first frame of each connection, a text
0x01, u16 length, speaker's id, u16 length, name, PCM  16 bits a sample, 48 kHz, one channel; little-endian
"""

import struct
from typing import Final, NamedTuple

import msgspec

RATE: Final = 48_000
SAMPLE_BYTES: Final = 2
SOUND: Final = 1
FRAME_S: Final = 0.1
DRAIN_S: Final = 3.0
"""How long a client may take for the rest when its bot is out."""
_LONGEST: Final = 0xFFFF


class Speaker(NamedTuple):
    """Who speaks, according to the page. Empty: nobody, or the page does not say."""

    id: str = ""
    name: str = ""


NOBODY: Final = Speaker()


def ready(bot_id: str) -> str:
    return msgspec.json.encode({"type": "ready", "bot_id": bot_id, "message": "The meeting's sound follows."}).decode()


def frame(speaker: Speaker, pcm: bytes) -> bytes:
    parts = [_text(speaker.id), _text(speaker.name)]
    return bytes([SOUND]) + b"".join(struct.pack("<H", len(part)) + part for part in parts) + pcm


def _text(text: str) -> bytes:
    """Text as bytes, cut between two characters if it is too long for its length field."""
    return text.encode()[:_LONGEST].decode(errors="ignore").encode()
