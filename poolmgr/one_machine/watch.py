"""Reads in Redis what the parts do: which manager leads, the agent's workers, the bots' states. Writes nothing."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError

from common.config.settings import RedisSettings
from common.runtime.redis.client import UNAVAILABLE, connect
from common.wire import codec
from common.wire.messages import Event
from common.wire.vocabulary import BotState
from poolmgr.one_machine.news import BotNews
from poolmgr.store.keys import Keys

_TROUBLE: Final = (*UNAVAILABLE, RedisError)
_AGAIN_S: Final = 0.1
_IMPATIENT_MS: Final = 100  # while waiting for a leader, which no stream announces
_PATIENT_MS: Final = 1000
_AT_ONCE: Final = 500
_REJECTED: Final = "rejected"
_REPORTED: Final = frozenset({BotState.WAITING_ROOM, BotState.IN_MEETING, BotState.STOPPED, _REJECTED})


class Seen(NamedTuple):
    """Redis answered. `leader`: the name of the leading manager; empty: none leads. `events`: new ones of this VM's
    agent. `bots`: new status changes.
    """

    leader: str
    events: list[Event]
    bots: list[BotNews]


class Watch:
    """`vm_id`: whose events and bots are read. `is_private`: bots without a VM belong to this machine, too."""

    def __init__(self, settings: RedisSettings, vm_id: str, *, is_private: bool) -> None:
        self._settings = settings
        self._keys = Keys(settings.prefix)
        self._vm_id = vm_id
        self._is_private = is_private
        self._skips = False

    def skip_events(self) -> None:
        """Skip the events in the stream so far: the agent that sent them is dead."""
        self._skips = True

    async def follow(
        self, seen: Callable[[Seen], None], silent: Callable[[str, float], None], in_a_hurry: Callable[[], bool]
    ) -> None:
        """Read for ever. Calls `seen` with what was read, and `silent` while Redis does not answer, with the error and
        for how long. `in_a_hurry`: whether the caller waits for `leader`.
        """
        redis = connect(self._settings)
        after: dict[str, str] = {}
        status = self._keys.status
        since = time.monotonic()
        try:
            while True:
                try:
                    if self._skips or not after:
                        self._skips = False
                        after = await self._ends(redis) | ({status: after[status]} if status in after else {})
                    found = await self._look(redis, after, _IMPATIENT_MS if in_a_hurry() else _PATIENT_MS)
                    seen(found._replace(events=[]) if self._skips else found)
                    since = time.monotonic()
                except _TROUBLE as error:
                    silent(" ".join(str(error).split()) or type(error).__name__, time.monotonic() - since)
                    await asyncio.sleep(_AGAIN_S)
        finally:
            await redis.aclose()

    async def _ends(self, redis: Redis) -> dict[str, str]:
        """The ids of the last entries of both streams: later entries are new."""
        pipeline: Any = redis.pipeline(transaction=False)
        streams = (self._keys.events, self._keys.status)
        for stream in streams:
            pipeline.xrevrange(stream, count=1)
        newest = await pipeline.execute()
        return {
            stream: entries[0][0].decode() if entries else "0-0"
            for stream, entries in zip(streams, newest, strict=True)
        }

    async def _look(self, redis: Any, after: dict[str, str], block_ms: int) -> Seen:
        """The entries after the positions in `after`, and the new positions; waits for them at most `block_ms`."""
        answer: Any = await redis.xread(after, count=_AT_ONCE, block=block_ms)
        leader: bytes | None = await redis.get(self._keys.leader)
        events: list[Event] = []
        bots: list[BotNews] = []
        for name, entries in answer or ():
            after[name.decode()] = entries[-1][0].decode()
            if name.decode() == self._keys.events:
                events += self._events(fields for _, fields in entries)
            else:
                bots += self._bots(fields for _, fields in entries)
        return Seen((leader or b"").decode(errors="replace"), events, bots)

    def _events(self, entries: Iterable[dict[bytes, bytes]]) -> list[Event]:
        found: list[Event] = []
        for fields in entries:
            try:
                event = codec.decode_event(fields[codec.FIELD.encode()])
            except (KeyError, codec.UndecodableError):  # the manager logs it
                continue
            if event.vm_id == self._vm_id:
                found.append(event)
        return found

    def _bots(self, entries: Iterable[dict[bytes, bytes]]) -> list[BotNews]:
        found: list[BotNews] = []
        for raw in entries:
            fields = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in raw.items()}
            vm_id = fields.get("vm_id", "")
            if fields.get("state") in _REPORTED and (vm_id == self._vm_id or (self._is_private and not vm_id)):
                found.append(BotNews(fields.get("bot_id", ""), fields["state"], fields.get("reason", "")))
        return found
