"""Checks that the records in Redis agree with each other and with the agents' last heartbeats.

It finds what is overdue, and what has no owner or no end. It only reads, and repairs nothing. A change under way may
look wrong for a moment: so the caller looks twice, and reports what was found both times.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from common.config.settings import Settings
from common.jobs.record import epoch
from common.wire.codec import FIELD, UndecodableError, decode_event
from common.wire.messages import Heartbeat, WorkerReport
from common.wire.vocabulary import BotState, WorkerState
from poolmgr.core.model import Bot, Worker
from poolmgr.store import answers, record
from poolmgr.store.keys import KEY_DOCS, Keys

SLACK_S: Final = 60.0  # on top of every limit, for differing clocks and for the time that a backstop needs
STILL_S: Final = 150.0  # what an agent's backstop needs: see docs/architecture.md
_PAGE: Final = 500
_MOST_EVENTS: Final = 20_000
_BOUNDED_OTHERWISE: Final = ("jobs", "jobs:taken", "jobs:stream", "control", "bots:live")
"""Keys without an expiry that stay short while a manager leads: see KEY_DOCS."""


class Finding(NamedTuple):
    """Something that is wrong. `kind`: the rule. `of`: the id of what is wrong. `sentence`: says so, without a link."""

    kind: str
    of: str
    sentence: str


class Seen(NamedTuple):
    """What Redis contains. `records`: of the bots in the index of live bots; None: there is no record. `lives`: key ->
    seconds to live; -1: no expiry. `beats`: the last heartbeat of each agent. `alive`: agents with a recent one.
    """

    records: Mapping[str, dict[str, str] | None]
    workers: Mapping[str, Mapping[str, Worker]]
    lost: frozenset[str]
    beats: Mapping[str, Heartbeat]
    alive: frozenset[str]
    lives: Mapping[str, int]
    unreadable: Sequence[str] = ()


async def look(redis: Any, keys: Keys) -> Seen:
    """Read everything once. Raises: RedisError, OSError."""
    unreadable: list[str] = []
    live: list[bytes] = await redis.zrange(keys.live, 0, -1)
    records: dict[str, dict[str, str] | None] = {}
    for start in range(0, len(live), _PAGE):
        page, pipeline = live[start : start + _PAGE], redis.pipeline(transaction=False)
        for bot_id in page:
            pipeline.hgetall(keys.bot(bot_id.decode(errors="replace")))
        for bot_id, raw in zip(page, await pipeline.execute(), strict=True):
            records[bot_id.decode(errors="replace")] = answers.text_fields(raw) if raw else None
    vm_ids = sorted(raw.decode(errors="replace") for raw in await redis.smembers(keys.vms))
    pipeline = redis.pipeline(transaction=False)
    for vm_id in vm_ids:
        pipeline.hget(keys.vm(vm_id), "lost").hgetall(keys.workers(vm_id)).exists(keys.alive(vm_id))
    said: list[Any] = await pipeline.execute()
    workers: dict[str, dict[str, Worker]] = {}
    for vm_id, raws in zip(vm_ids, said[1::3], strict=True):
        workers[vm_id] = {}
        for raw_id, raw in raws.items():
            worker_id = raw_id.decode(errors="replace")
            try:
                workers[vm_id][worker_id] = record.worker_from(vm_id, worker_id, raw)
            except (ValueError, msgspec.MsgspecError):
                unreadable.append(worker_id)
    lost = frozenset(vm_id for vm_id, is_lost in zip(vm_ids, said[0::3], strict=True) if is_lost == b"1")
    alive = frozenset(vm_id for vm_id, is_alive in zip(vm_ids, said[2::3], strict=True) if is_alive)
    beats = await _last_beats(redis, keys, alive)
    return Seen(records, workers, lost, beats, alive, await _lives(redis, keys), unreadable)


async def _last_beats(redis: Any, keys: Keys, wanted: frozenset[str]) -> dict[str, Heartbeat]:
    beats: dict[str, Heartbeat] = {}
    before, left = "+", _MOST_EVENTS
    while left > 0 and not wanted <= beats.keys():
        entries: Any = await redis.xrevrange(keys.events, before, count=_PAGE)
        for entry_id, fields in entries:
            before = f"({entry_id.decode()}"
            try:
                event = decode_event(fields.get(FIELD.encode(), b""))
            except UndecodableError:
                continue
            if isinstance(event, Heartbeat):
                beats.setdefault(event.vm_id, event)
        left -= len(entries) if entries else left
    return beats


async def _lives(redis: Any, keys: Keys) -> dict[str, int]:
    pattern = re.sub(r"([\\\[\]*?])", r"\\\1", keys.prefix)
    names: list[bytes] = [name async for name in redis.scan_iter(match=f"{pattern}:*", count=_PAGE)]
    lives: dict[str, int] = {}
    for start in range(0, len(names), _PAGE):
        page, pipeline = names[start : start + _PAGE], redis.pipeline(transaction=False)
        for name in page:
            pipeline.ttl(name)
        answers: list[int] = await pipeline.execute()
        # -2: the key was deleted between the two commands.
        lives |= {name.decode(errors="replace"): life for name, life in zip(page, answers, strict=True) if life != -2}
    return lives


def findings(seen: Seen, keys: Keys, settings: Settings, now: float) -> list[Finding]:
    """Everything that is wrong. `now`: wall clock, epoch seconds."""
    found = [*_about_bots(seen, settings, now), *_about_workers(seen, settings, now), *_about_keys(seen, keys)]
    return sorted(set(found))


def in_both(first: Sequence[Finding], second: Sequence[Finding]) -> list[Finding]:
    """The findings of the second look that were also in the first. Numbers in their sentences may differ."""
    before = {(finding.kind, finding.of) for finding in first}
    return [finding for finding in second if (finding.kind, finding.of) in before]


def _about_bots(seen: Seen, settings: Settings, now: float) -> Iterator[Finding]:
    for bot_id, fields in seen.records.items():
        if fields is None or fields.get("state") == BotState.STOPPED:
            what = "no record" if fields is None else "ended"
            yield Finding("index_wrong", bot_id, f"the index of live bots has it, and it has {what}")
            continue
        try:
            bot = record.bot_from(fields)
        except ValueError:
            yield Finding("record_unreadable", bot_id, "its record cannot be read: nobody takes care of it")
            continue
        limit = _latest(bot, fields, settings)
        if limit is not None and now > limit:
            late_s = now - limit
            yield Finding("bot_overdue", bot_id, f"it is {bot.state} for {late_s:.0f} s longer than it may be")
        if bot.is_on_vm and bot.vm_id not in seen.lost:
            yield from _about_its_worker(bot, seen)


def _about_its_worker(bot: Bot, seen: Seen) -> Iterator[Finding]:
    worker = seen.workers.get(bot.vm_id, {}).get(bot.worker_id)
    if worker is None or (worker.state, worker.bot_id) != (WorkerState.BUSY, bot.bot_id):
        held = f"is {worker.state} of {worker.bot_id or 'nobody'}" if worker else "is not known"
        yield Finding("bot_without_worker", bot.bot_id, f"it is {bot.state} on {bot.worker_id}, which {held}")
    beat = seen.beats.get(bot.vm_id) if bot.vm_id in seen.alive else None
    if beat and bot.state is not BotState.ASSIGNED:
        report = beat.workers.get(bot.worker_id)
        if report is None or (report.bot_id, report.attempt) != (bot.bot_id, bot.attempt):
            sentence = f"it is {bot.state}, and the agent of {bot.vm_id} has no such bot"
            yield Finding("bot_without_worker", bot.bot_id, sentence)


def _latest(bot: Bot, fields: Mapping[str, str], settings: Settings) -> float | None:
    """Until when the bot may be in its state; None: unknown, because the record does not say since when it is."""
    pool, worker, leave = settings.pool, settings.worker, bot.job.automatic_leave
    limits_s = {
        BotState.ASSIGNED: pool.claim_timeout_s + worker.load_timeout_s + STILL_S,
        BotState.JOINING: worker.load_timeout_s + worker.join_timeout_s + STILL_S,
        BotState.WAITING_ROOM: leave.waiting_room_timeout + worker.leave_timeout_s + STILL_S,
        BotState.IN_MEETING: leave.in_call_recording_timeout + worker.leave_timeout_s + STILL_S,
        BotState.LEAVING: worker.leave_timeout_s + 2 * pool.leave_within_s,
    }
    if bot.state is BotState.SCHEDULED:
        return None if bot.job.join_at is None else bot.job.join_at + SLACK_S
    if bot.state is BotState.QUEUED:
        # The record does not say since when a bot waits for a further attempt, only when the earlier attempt was.
        since = _epoch(fields, "assigned_at")
        since = max(bot.created_at, bot.job.join_at or 0.0) if since is None else since + pool.overdue_after_s
        return since + pool.queue_timeout_s + SLACK_S
    since = _epoch(fields, record.TIME_FIELD[bot.state])
    return None if since is None else since + limits_s[bot.state] + SLACK_S


def _epoch(fields: Mapping[str, str], name: str) -> float | None:
    text = fields.get(name, "")
    return epoch(text) if text else None


def _about_workers(seen: Seen, settings: Settings, now: float) -> Iterator[Finding]:
    for worker_id in seen.unreadable:
        yield Finding("record_unreadable", worker_id, "its record cannot be read by this release")
    for vm_id, kept in seen.workers.items():
        if vm_id in seen.lost:
            continue
        for worker in kept.values():
            yield from _about_worker(worker, seen, settings, now)
        beat = seen.beats.get(vm_id) if vm_id in seen.alive else None
        if beat:
            yield from _both_sides(vm_id, kept, beat.workers)


def _about_worker(worker: Worker, seen: Seen, settings: Settings, now: float) -> Iterator[Finding]:
    limits_s = {
        WorkerState.WARMING: 2 * settings.pool.warmup_timeout_s,
        WorkerState.RETIRING: 5 * settings.pool.warmup_timeout_s,  # the VM may be silent meanwhile
    }
    late_s = now - worker.since - limits_s.get(worker.state, float("inf")) - SLACK_S
    if late_s > 0:
        sentence = f"it is {worker.state} for {late_s:.0f} s longer than it may be"
        yield Finding("worker_overdue", worker.worker_id, sentence)
    fields = seen.records.get(worker.bot_id)
    serves = fields and (fields.get("worker_id"), fields.get("vm_id")) == (worker.worker_id, worker.vm_id)
    patience_s = settings.pool.warmup_timeout_s + SLACK_S
    if worker.state is WorkerState.BUSY and not serves and now - worker.since > patience_s:
        sentence = f"it is busy with {worker.bot_id or 'nobody'}, who is no live bot on it"
        yield Finding("worker_without_bot", worker.worker_id, sentence)


def _both_sides(vm_id: str, kept: Mapping[str, Worker], reported: Mapping[str, WorkerReport]) -> Iterator[Finding]:
    for worker_id in sorted(reported.keys() - kept.keys()):
        yield Finding("worker_without_order", worker_id, f"the agent of {vm_id} has it, and no manager knows of it")
    for worker_id in sorted(kept.keys() - reported.keys()):
        if kept[worker_id].state is not WorkerState.WARMING:  # its order may not have arrived yet
            sentence = f"it is kept as {kept[worker_id].state}, and the agent of {vm_id} has none"
            yield Finding("worker_missing", worker_id, sentence)


def _about_keys(seen: Seen, keys: Keys) -> Iterator[Finding]:
    live = {keys.bot(bot_id) for bot_id, fields in seen.records.items() if fields}
    patterns = [re.compile(_pattern(keys.prefix, doc.name)) for doc in KEY_DOCS]
    for name, life_s in seen.lives.items():
        if not any(pattern.fullmatch(name) for pattern in patterns):
            yield Finding("key_unknown", name, "no key of this release has such a name")
        elif life_s < 0 and name not in live and name.removeprefix(f"{keys.prefix}:") not in _BOUNDED_OTHERWISE:
            yield Finding("key_without_end", name, "it has no time to live, and is none of a live bot")


def _pattern(prefix: str, name: str) -> str:
    """A pattern for keys of one kind in KEY_DOCS: a part in braces may be anything."""
    parts = re.split(r"(\{\w+\})", name)
    return re.escape(f"{prefix}:") + "".join(".+" if part.startswith("{") else re.escape(part) for part in parts)
