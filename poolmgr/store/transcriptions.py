"""Transcripts that are made of recordings: those that bots' jobs ask for, and those that are asked for afterwards.

Any manager may read them and ask for one (leader/transcriptions.py has them made). Redis holds no text of a transcript.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from redis.asyncio import Redis

from poolmgr.store import scripts, story
from poolmgr.store.actions import By, Verb, fields_of
from poolmgr.store.keys import Keys

OF_JOB: Final = 1

PROCESSED: Final = "processed"
SKIPPED: Final = "skipped"
FAILED: Final = "failed"
NOTHING_TO_TRANSCRIBE: Final = ("nothing_said", "no_recording")
"""Why there is no transcript where nobody failed: it is `skipped` then."""


class Transcription(msgspec.Struct, frozen=True, omit_defaults=True):
    """A transcript that is to be made, or was made. `status`: `processing`, `processed`, `skipped` or `failed`.
    `attempt`: of which attempt's meeting; 0: of the latest. `captions`: the provider of a transcript of captions, if
    there is one already. `callback`: a further address for its webhook. `why`: why the last try failed, in a few words.
    """

    provider: str
    asked_at: str
    status: str = "processing"
    language: str = ""
    attempt: int = 0
    captions: str = ""
    callback: str = ""
    tries: int = 0
    why: str = ""
    utterances: int = 0


class Unasked(NamedTuple):
    """Why no further transcript is made: a word."""

    why: str


class Transcriptions:
    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis: Any = redis
        self._keys = keys

    async def all(self, bot_id: str) -> dict[int, Transcription]:
        """All transcripts of the bot, in order of their numbers."""
        return in_order(await self.raw(bot_id))

    async def raw(self, bot_id: str) -> dict[str, bytes]:
        """All transcripts of the bot as Redis has them: number and JSON."""
        found: dict[bytes, bytes] = await self._redis.hgetall(self._keys.transcriptions(bot_id))
        return {number.decode(): text for number, text in found.items()}

    async def ask(self, bot_id: str, what: Transcription, at: float, by: By) -> int | Unasked:
        """Ask for a transcript. Returns its number; it is durable then, and due at once."""
        k = self._keys
        call = scripts.ask_transcription(
            bot=k.bot(bot_id),
            story=k.story(bot_id),
            transcriptions=k.transcriptions(bot_id),
            due=k.transcriptions_due,
            actions=k.actions,
            bot_id=bot_id,
            stamp=at,
            asked=msgspec.json.encode(what),
            entry=story.of_transcription(what.attempt, at, what.provider),
            action=fields_of(by, Verb.TRANSCRIBE, bot_id, f"by {what.provider}"),
        )
        number = await call.run(self._redis)
        return number if number > 0 else Unasked(_UNASKED[number])


_UNASKED: Final = {0: "not_ended", -1: "under_way", -2: "too_many"}


def in_order(raw: Mapping[str, bytes] | Mapping[bytes, bytes]) -> dict[int, Transcription]:
    found = {int(number): msgspec.json.decode(text, type=Transcription) for number, text in raw.items()}
    return dict(sorted(found.items()))
