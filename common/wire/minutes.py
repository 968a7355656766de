"""The minutes of a meeting: `transcript.json` and `speakers.json`, beside its recording. Only shapes.

Wall-clock times, `..._at`, are epoch seconds of the agent's VM.
"""

from typing import Final, TypeVar

import msgspec

VERSION: Final = 1
TRANSCRIPT: Final = "transcript.json"
SPEAKERS: Final = "speakers.json"
SO_FAR: Final = "minutes.jsonl"
"""What the agent has written down while the meeting runs. Another agent makes the two others of it if need be."""
CAPTIONS: Final = "meeting_captions"
"""The provider of transcripts that are made of the page's own captions."""


PREFIX: Final = "tr-"


def transcript_id(bot_id: str, number: int = 1) -> str:
    """A transcript's id, as clients see it. No bot's id has a tilde."""
    return f"{PREFIX}{bot_id}" if number == 1 else f"{PREFIX}{bot_id}~{number}"


def named_transcript(name: str) -> tuple[str, int] | None:
    """The bot's id and the number; None: the text is no transcript's id."""
    bot_id, tilde, number = name.removeprefix(PREFIX).partition("~")
    if not name.startswith(PREFIX) or (tilde and not (number.isascii() and number.isdecimal() and len(number) < 4)):
        return None
    return bot_id, int(number or 1)


def transcript_name(number: int) -> str:
    """The file of a bot's transcript with that number. Number 1 is the one that its job asked for."""
    return TRANSCRIPT if number == 1 else f"transcript-{number}.json"


class Shape(msgspec.Struct, frozen=True, omit_defaults=True):
    pass


class Word(Shape, frozen=True):
    """A word. `punctuated`: as it is written in the text, if that differs from the word. `voice`: the provider's number
    of its voice.
    """

    word: str
    began_at: float
    ended_at: float
    punctuated: str = ""
    confidence: float | None = None
    voice: int | None = None

    @property
    def text(self) -> str:
        return self.punctuated or self.word


class Utterance(Shape, frozen=True):
    """An utterance. `words`: empty if their times are unknown, as in captions of pages."""

    speaker: str
    text: str
    began_at: float
    ended_at: float
    words: list[Word] = []


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


_Timed = TypeVar("_Timed", Word, Utterance)
_LATEST: Final = 253_402_300_799.0
"""The last second of the year 9999: no calendar shows later ones."""


def encode(minutes: Minutes) -> bytes:
    return msgspec.json.format(msgspec.json.encode(minutes), indent=1)


def decode(data: bytes) -> Minutes:
    """The minutes. A time that no clock shows is when they began: earlier releases kept what a provider said. Raises:
    msgspec.DecodeError (a ValueError).
    """
    made = msgspec.json.decode(data, type=Minutes)
    began_at = made.began_at
    utterances = [
        _with_times(msgspec.structs.replace(said, words=[_with_times(word, began_at) for word in said.words]), began_at)
        for said in made.utterances
    ]
    return msgspec.structs.replace(made, utterances=utterances)


def _with_times(said: _Timed, otherwise: float) -> _Timed:
    if 0 <= said.began_at < _LATEST and 0 <= said.ended_at < _LATEST:
        return said
    began_at, ended_at = (at if 0 <= at < _LATEST else otherwise for at in (said.began_at, said.ended_at))
    return msgspec.structs.replace(said, began_at=began_at, ended_at=ended_at)
