"""What a meeting leaves in words: `transcript.json` and `speakers.json`, beside its recording. Only shapes.

Times of the wall clock, `..._at`, are epoch seconds of the agent's VM.
"""

from typing import Final

import msgspec

VERSION: Final = 1
TRANSCRIPT: Final = "transcript.json"
SPEAKERS: Final = "speakers.json"
CAPTIONS: Final = "meeting_captions"
"""The provider of words that the meeting's page writes down itself."""


class Shape(msgspec.Struct, frozen=True, omit_defaults=True):
    pass


class Utterance(Shape, frozen=True):
    speaker: str
    text: str
    began_at: float
    ended_at: float


class Turn(Shape, frozen=True):
    """Somebody whom the page marked as speaking."""

    speaker_id: str
    speaker: str
    began_at: float
    ended_at: float


class Minutes(Shape, frozen=True):
    """Of one attempt of a bot. In the transcript there are `utterances`, in the file of speakers `turns`."""

    version: int
    bot_id: str
    attempt: int
    platform: str
    began_at: float
    provider: str = ""
    utterances: list[Utterance] = []
    turns: list[Turn] = []


def encode(minutes: Minutes) -> bytes:
    return msgspec.json.format(msgspec.json.encode(minutes), indent=1)


def decode(data: bytes) -> Minutes:
    """Raises: msgspec.DecodeError (a ValueError)."""
    return msgspec.json.decode(data, type=Minutes)
