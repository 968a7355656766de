"""The call of accept.lua: new bots, each with its worker where one was idle, several in one script.

A script costs Redis as much as half a bot, and agents that wait for orders are woken after each. So bots that were
decided on one after the other share one. Each is one argument, in MessagePack: Redis reads that faster than arguments.
It is all text, because Redis' own reader of MessagePack knows no binary strings.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final, NamedTuple

import msgspec

from common.config.settings import RetentionSettings
from common.jobs.record import STANDING, iso
from common.runtime.redis.lua import Call
from common.wire.vocabulary import BotState, outward_status
from poolmgr.core.decisions import Accept, Alone, Assign, Decision, Unsaid, Warm
from poolmgr.store import record, scripts, story
from poolmgr.store.keys import Keys

_MOST_AT_ONCE: Final = 16
"""Bots in one script: enough to share its cost, and so few that no other client of Redis waits for long."""

_MOST_CHARS: Final = 64 * 1024
"""Of the jobs in one script; a longer one has a script of its own."""


_TOLD_ANYWAY: Final = ("bot_id", "created_at", "payload")
"""Fields of the record that the script takes from the rest of what it is told of a bot."""


class Taken(NamedTuple):
    """The decisions about a job: it is accepted; if a worker was idle, it is assigned, and the next one warmed."""

    accept: Accept
    assign: Assign | None = None
    warm: Warm | None = None


class Batch(NamedTuple):
    """Jobs that share a script."""

    jobs: Sequence[Taken]


class _Given(msgspec.Struct):
    """The worker of a new bot. `records`: id and record of it and of the next one; `orders`: to their agent."""

    workers: int
    commands: int
    vm_id: str
    worker_id: str
    at: str
    status: str
    records: list[str]
    orders: list[str]


class _New(msgspec.Struct, omit_defaults=True):
    """A new bot. `bot`, `story`, `indexes` and the like are places of its keys in `own`; None: it has none of that."""

    bot: int
    story: int
    bot_id: str
    created: str
    at: str
    state: str
    status: str
    payload: str
    traceparent: str
    entries: list[str]
    fields: list[str | int]
    indexes: list[int]
    is_called: bool = False
    dedup: int | None = None
    owned: int | None = None
    submitted: int | None = None
    meeting: int | None = None
    given: _Given | None = None


class _Own:
    """The keys of the bots of a script, each once."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def place(self, key: str) -> int:
        return self._places.setdefault(key, len(self._places) + 1)

    @property
    def keys(self) -> list[str]:
        return list(self._places)


def steps(decisions: Sequence[Decision]) -> Iterator[Batch | Alone]:
    """The decisions, in order, grouped into one script each."""
    jobs: list[Taken] = []
    chars = start = 0
    while start < len(decisions):
        decision = decisions[start]
        if not isinstance(decision, Accept):
            if jobs:
                yield Batch(jobs)
                jobs, chars = [], 0
            start += 1
            if not isinstance(decision, Unsaid):
                yield decision
            continue
        job = _taken(decision, decisions[start + 1 : start + 3])
        start += 1 + (job.assign is not None) + (job.warm is not None)
        chars += len(decision.job.payload)
        if jobs and (len(jobs) == _MOST_AT_ONCE or chars > _MOST_CHARS):
            yield Batch(jobs)
            jobs, chars = [], len(decision.job.payload)
        jobs.append(job)
    if jobs:
        yield Batch(jobs)


def _taken(accept: Accept, after: Sequence[Decision]) -> Taken:
    match after:
        case [Assign() as assign, *more] if _is_first_of(accept, assign):
            warm = next((step for step in more if isinstance(step, Warm) and step.vm_id == assign.vm_id), None)
            return Taken(accept, assign, warm)
        case _:
            return Taken(accept)


def _is_first_of(accept: Accept, assign: Assign) -> bool:
    return (assign.join.bot_id, assign.join.attempt, accept.state) == (accept.bot_id, 1, BotState.QUEUED)


def accepting(batch: Batch, keys: Keys, retention: RetentionSettings, at: float) -> Call[bool]:
    """The call. `at`: wall clock, epoch seconds."""
    own = _Own()
    bots = [_pack(_new(job, keys, own, at)) for job in batch.jobs]
    return scripts.accept(
        taken=keys.taken,
        live=keys.live,
        all_bots=keys.all_bots,
        status=keys.status,
        outbox=keys.outbox if any(job.accept.job.callback_url for job in batch.jobs) else None,
        own=own.keys,
        keep=retention.stream_entries,
        dedup_life_s=int(retention.bot_s),
        bots=bots,
    )


_pack: Final = msgspec.msgpack.Encoder().encode


def _new(taken: Taken, k: Keys, own: _Own, at: float) -> _New:
    accept, assign, _ = taken
    job, bot_id = accept.job, accept.bot_id
    fields = {**STANDING, **record.accepted(accept)}
    for name in _TOLD_ANYWAY:
        del fields[name]
    new = _New(
        bot=own.place(k.bot(bot_id)),
        story=own.place(k.story(bot_id)),
        bot_id=bot_id,
        created=repr(accept.at),
        at=iso(accept.at),
        state=accept.state,
        status=outward_status(accept.state),
        payload=job.payload,
        traceparent=job.traceparent,
        entries=[story.entry_of(accept, at).decode()],
        fields=[],
        indexes=[own.place(k.index(field, value)) for field, value in job.found_by],
        is_called=bool(job.callback_url),
    )
    if job.deduplication_key:
        new.dedup = own.place(k.deduplication(job.deduplication_key))
    if job.held_meeting:
        new.meeting = own.place(k.meeting(job.held_meeting))
    if job.owner:
        new.owned, new.submitted = own.place(k.owned(job.owner)), own.place(k.submitted(bot_id))
    if assign:
        fields |= record.assigned(assign, at)
        new.entries.append(story.entry_of(assign, at).decode())
        new.given = _given(assign, taken.warm, k, own, at)
    new.fields = list(chain.from_iterable(fields.items()))
    return new


def _given(assign: Assign, warm: Warm | None, k: Keys, own: _Own, at: float) -> _Given:
    orders = [record.order_of(order, at) for order in (assign, warm) if order]
    return _Given(
        workers=own.place(k.workers(assign.vm_id)),
        commands=own.place(k.commands(assign.vm_id)),
        vm_id=assign.vm_id,
        worker_id=assign.join.worker_id,
        at=iso(at),
        status=outward_status(BotState.ASSIGNED),
        records=[part for worker_id, worker, _ in orders for part in (worker_id, worker.decode())],
        orders=[message.decode() for _, _, message in orders],
    )
