"""The minutes of a meeting: `transcript.json` and `speakers.json`, beside its recording. Only shapes.

Times of the wall clock, `..._at`, are epoch seconds of the agent's VM.
"""

from typing import Final

import msgspec

VERSION: Final = 1
TRANSCRIPT: Final = "transcript.json"
SPEAKERS: Final = "speakers.json"
CAPTIONS: Final = "meeting_captions"
"""The provider of transcripts that are made of the page's own captions."""


class Shape(msgspec.Struct, frozen=True, omit_defaults=True):
    pass


class Utterance(Shape, frozen=True):
    speaker: str
    text: str
    began_at: float
    ended_at: float


class Turn(Shape, frozen=True):
    """A time in which somebody spoke, as the page marked it."""

    speaker_id: str
    speaker: str
    began_at: float
    ended_at: float


class Minutes(Shape, frozen=True):
    """The minutes of one attempt of a bot. The transcript has `utterances`, the list of speakers has `turns`."""

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
