"""Carries out the pool's decisions in Redis: each decision one script, all of a batch in one round trip, in order.

A job that finds a worker at once is one script as a whole: its acceptance, its assignment, the order for a replacement.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError

from common.config.settings import RetentionSettings
from common.wire import codec, messages
from common.wire.vocabulary import BotState, Reason
from poolmgr.core.decisions import (
    Accept,
    Ask,
    Assign,
    Decision,
    End,
    EndByForce,
    Enqueue,
    ForgetVm,
    ForgetWorker,
    KeepVm,
    KeepWorker,
    Move,
    Note,
    NoteFailed,
    NoteRecorded,
    Remember,
    Reschedule,
    Retire,
    Revoke,
    Say,
    Unsaid,
    Warm,
    Written,
)
from poolmgr.core.events import Revoked
from poolmgr.core.record import Fields, iso
from poolmgr.intake.job import MAX_JOB_BYTES
from poolmgr.store import record, story
from poolmgr.store.keys import Keys
from poolmgr.store.roundtrip import ask
from poolmgr.store.scripts import DIGESTS

GRACE_S: Final = 86400
"""How much longer the record of an ended bot stays than it has to: the reaper is to take it off the indexes first."""

_INDEX_LIFE_S: Final = 400 * 86400
"""The end of an index that no bot has been added to: later than that of any bot in it, scheduled a year ahead."""

_MOST_NOTED: Final = 1000
"""Of a bot's participants and of its chat lines. Of the lines the latest are kept."""

_MOST_CHAT_CHARS: Final = 4096

_VM_LIFE_S: Final = 86400
"""The end of a VM's keys when nobody speaks to it, is heard of it, or leads. Renewed by agent and reaper until then."""


class _Dispatch(NamedTuple):
    """A job that found a worker at once: what was decided of it."""

    accept: Accept
    assign: Assign
    warm: Warm | None


Call = tuple[str, tuple[str, ...], tuple[Any, ...]]
"""A script, its keys after the epoch's, and its arguments after the epoch."""

_MUST_SUCCEED: Final = (Accept, Assign, _Dispatch)
"""When Redis answers 0 to one of these, what the pool believes is not what Redis holds."""


class StaleEpochError(Exception):
    """Another manager leads. Nothing was written."""


class DisagreementError(Exception):
    """Redis does not hold what the pool believed. The pool has to be rebuilt from Redis."""


async def run_fenced(redis: Redis, epoch_key: str, epoch: int, calls: Sequence[Call]) -> list[Any]:
    """The answers of `calls`, in one round trip. Raises: StaleEpochError, DisagreementError, and Redis' own errors."""
    answers = await ask(
        redis,
        [
            ("EVALSHA", DIGESTS[script], len(keys) + 1, epoch_key, *keys, epoch, *arguments)
            for script, keys, arguments in calls
        ],
    )
    for answer in answers:
        if isinstance(answer, NoScriptError):
            raise DisagreementError("Redis restarted and lost its scripts") from answer
        if isinstance(answer, ResponseError) and str(answer).startswith("STALE_EPOCH"):
            raise StaleEpochError("another manager leads") from answer
        if isinstance(answer, Exception):
            raise answer
    return answers


class Rejected(NamedTuple):
    """A payload that is no usable job: the payload, the reason, and its bot_id, if it named one."""

    payload: bytes
    reason: str
    detail: str
    bot_id: str = ""


class Ledger:
    """Writes for one leader. Every method raises StaleEpochError when that leader has been replaced."""

    def __init__(self, redis: Redis, keys: Keys, retention: RetentionSettings, epoch: int) -> None:
        self._redis = redis
        self._keys = keys
        self._retention = retention
        self._epoch = epoch

    async def apply(self, decisions: Sequence[Decision], at: float) -> list[Revoked]:
        """Carry out `decisions`, in their order. `at`: wall clock, epoch seconds.

        Returns the events that the outcome makes for the pool. Raises: StaleEpochError, DisagreementError, and Redis'
        own errors, after which it is not known which decisions were carried out.
        """
        if not decisions:
            return []
        steps = list(_steps(decisions))
        if not steps:
            return []
        answers = await self._run([self._call(step, at) for step in steps])
        news: list[Revoked] = []
        for step, answer in zip(steps, answers, strict=True):
            if isinstance(step, Revoke):
                news.append(Revoked(step.bot_id, step.attempt, revoked=bool(answer)))
            elif not answer and isinstance(step, _MUST_SUCCEED):
                raise DisagreementError(f"Redis refused {_named(step)}")
        return news

    async def reject(self, rejected: Sequence[Rejected], at: float) -> None:
        """Move taken payloads to the dead stream. `at`: wall clock, epoch seconds. Raises: as apply."""
        k, calls = self._keys, list[Call]()
        for job in rejected:
            fields: Fields = {
                "reason": job.reason,
                "detail": job.detail[:500],
                "bot_id": job.bot_id,
                "at": iso(at),
            }
            kept = job.payload[:MAX_JOB_BYTES]  # a 10 MB job is evidence enough by its beginning
            keys = (k.taken, k.dead, k.status, k.bot(job.bot_id), k.submitted(job.bot_id))
            limits = (self._retention.dead_entries, job.bot_id, iso(at), self._retention.stream_entries)
            calls.append(
                ("reject", keys, (job.payload, *limits, job.reason, fields["detail"], "payload", kept, *_flat(fields)))
            )
        await self._run(calls)

    async def _run(self, calls: Sequence[Call]) -> list[Any]:
        return await run_fenced(self._redis, self._keys.epoch, self._epoch, calls)

    def _call(self, step: Written | _Dispatch, at: float) -> Call:
        k, keep, bot_s = self._keys, self._retention.stream_entries, int(self._retention.bot_s)
        match step:
            case _Dispatch():
                return self._accept(step.accept, step.assign, step.warm, at)
            case Accept():
                return self._accept(step, None, None, at)
            case Assign(join=join, vm_id=vm_id):
                bot_keys = (k.bot(join.bot_id), k.workers(vm_id), k.commands(vm_id), k.status, k.outbox)
                keys = (*bot_keys, k.story(join.bot_id))
                arguments = (join.bot_id, join.attempt, *_order(step, at), iso(at), keep, _VM_LIFE_S)
                return "assign", keys, (*arguments, story.told(step, at), *_flat(record.assigned(step, at)))
            case Move():
                return self._move(step, step.at, record.moved(step))
            case Enqueue():
                return self._move(step, at, record.enqueued(step))
            case Reschedule():
                keys = (k.bot(step.bot_id), k.story(step.bot_id))
                return "reschedule", keys, (iso(step.join_at), story.told(step, at))
            case Remember():
                return "note", (k.bot(step.bot_id),), (step.attempt, *_flat(record.remembered(step)))
            case Note() | NoteRecorded():
                return self._note_call(step, at)
            case NoteFailed():
                bot_keys = (k.bot(step.bot_id), k.story(step.bot_id))
                return "relate", bot_keys, (step.attempt, story.told(step, at), step.evidence)
            case Revoke():
                return "revoke", (k.bot(step.bot_id),), (step.attempt,)
            case End():
                fields, stopped = record.ended(step, at), step.at or at
                by_status = k.index("status", str(fields["status"]))
                keys = (k.bot(step.bot_id), k.status, k.outbox, k.live, k.ended, by_status, k.story(step.bot_id))
                owned = (k.owned(step.owner),) if step.owner else ()
                when = (iso(stopped), keep, stopped, bot_s + GRACE_S, _INDEX_LIFE_S)
                arguments = (step.bot_id, *when, story.told(step, at), step.evidence, *_flat(fields))
                return "end", keys + owned, arguments
            case _:
                return self._vm_call(step, at)

    def _accept(self, accept: Accept, assign: Assign | None, warm: Warm | None, at: float) -> Call:
        k, job = self._keys, accept.job
        keys = [k.bot(accept.bot_id), k.taken, k.live, k.all_bots, k.status, k.story(accept.bot_id)]
        fields, orders = record.accepted(accept), [order for order in (assign, warm) if order]
        limits = (self._retention.stream_entries, int(self._retention.bot_s), _INDEX_LIFE_S)
        there = (int(bool(job.deduplication_key)), int(bool(job.callback_url)), int(bool(job.owner)))
        there += (int(bool(job.held_meeting)),)
        start = (accept.bot_id, job.payload, accept.at, fields["created_at"], fields["state"], fields["status"])
        arguments: tuple[Any, ...] = (*start, *limits, *there, len(orders), story.told(accept, at))
        if assign:
            keys += k.workers(assign.vm_id), k.commands(assign.vm_id)
            fields |= record.assigned(assign, at)
            arguments += (fields["assigned_at"], fields["status"], assign.vm_id, _VM_LIFE_S, story.told(assign, at))
            arguments += tuple(part for order in orders for part in _order(order, at))
        if job.deduplication_key:
            keys.append(k.deduplication(job.deduplication_key))
        if job.callback_url:
            keys.append(k.outbox)
        if job.owner:
            keys += k.owned(job.owner), k.submitted(accept.bot_id)
        if job.held_meeting:
            keys.append(k.meeting(job.held_meeting))
        keys += [k.index(field, value) for field, value in job.found_by]
        return "accept", tuple(keys), (*arguments, *_flat(fields))

    def _note_call(self, note: Note | NoteRecorded, at: float) -> Call:
        if isinstance(note, NoteRecorded):
            return self._recorded(note.event, at)
        event = note.event
        k, bot_id, attempt = self._keys, event.bot_id, event.attempt
        limits = (_MOST_NOTED, int(self._retention.bot_s) + GRACE_S)
        match event:
            case messages.BotVitals():
                return "note", (k.bot(bot_id),), (attempt, *_flat(record.vitals(event)))
            case messages.BotSaw():
                keys = (k.bot(bot_id), k.story(bot_id))
                return "relate", keys, (attempt, story.told(event, at), "", *_flat(record.seen(event, note.status)))
            case messages.ParticipantsSeen():
                came = [part for one in event.joined for part in (one.id, one.name)]
                facts = (iso(event.at), int(event.anew), len(event.joined), *came, *event.left)
                return "note_participants", (k.bot(bot_id), k.participants(bot_id)), (attempt, *limits, *facts)
            case messages.ChatHeard():
                said = map(_chat_record, event.chats)
                return "note_chat", (k.bot(bot_id), k.chats(bot_id)), (attempt, *limits, *said)

    def _recorded(self, event: messages.BotRecorded, at: float) -> Call:
        k, bot_id = self._keys, event.bot_id
        told = (iso(event.at), record.audio_status(event), story.told(event, at))
        return "recorded", (k.bot(bot_id), k.outbox, k.story(bot_id)), (bot_id, event.attempt, *told)

    def _vm_call(
        self,
        decision: Ask | EndByForce | Say | Warm | Retire | KeepWorker | ForgetWorker | KeepVm | ForgetVm,
        at: float,
    ) -> Call:
        k, vm_id = self._keys, decision.vm_id
        order_keys = (k.workers(vm_id), k.commands(vm_id))
        match decision:
            case Ask(worker_id=worker_id, bot_id=bot_id, attempt=attempt, reason=reason):
                message = codec.encode(messages.Leave(worker_id, bot_id, attempt, reason))
                wished = int(reason not in (Reason.SUPERSEDED, Reason.OVERDUE))
                told = story.told(decision, at) if reason is not Reason.SUPERSEDED else ""
                keys = (k.bot(bot_id), k.commands(vm_id), k.story(bot_id))
                return "ask", keys, (attempt, message, _VM_LIFE_S, wished, told)
            case EndByForce(worker_id=worker_id, bot_id=bot_id, attempt=attempt):
                message = codec.encode(messages.Retire(worker_id, by_force=True))
                keys = (k.bot(bot_id), k.commands(vm_id), k.story(bot_id))
                return "ask", keys, (attempt, message, _VM_LIFE_S, 0, story.told(decision, at))
            case Say(worker_id=worker_id, bot_id=bot_id, attempt=attempt, message=text):
                message = codec.encode(messages.Say(worker_id, bot_id, attempt, text))
                return "ask", (k.bot(bot_id), k.commands(vm_id), k.story(bot_id)), (attempt, message, _VM_LIFE_S, 0, "")
            case Retire(served=served) if served:
                told = story.told(decision, at)
                return "order", (*order_keys, k.story(served)), (*_order(decision, at), _VM_LIFE_S, told)
            case Warm() | Retire():
                return "order", order_keys, (*_order(decision, at), _VM_LIFE_S)
            case KeepWorker():
                worker = record.worker_record(decision, at)
                return "order", order_keys, (decision.worker_id, worker, "", _VM_LIFE_S)
            case ForgetWorker():
                return "order", order_keys, (decision.worker_id, "", "", _VM_LIFE_S)
            case KeepVm():
                facts: Fields = {
                    "session": decision.session,
                    "draining": int(decision.draining),
                    "lost": int(decision.lost),
                    "stopping": int(decision.stopping),
                    "at": iso(at),
                }
                return (
                    "keep_vm",
                    (k.vm(vm_id), k.workers(vm_id), k.vms, k.commands(vm_id)),
                    (vm_id, int(self._retention.vm_s), int(decision.lost), *_flat(facts)),
                )
            case _:  # ForgetVm
                return "forget_vm", (k.vm(vm_id), k.workers(vm_id), k.commands(vm_id), k.vms), (vm_id,)

    def _move(self, step: Move | Enqueue, at: float, fields: Fields) -> Call:
        k, bot_id = self._keys, step.bot_id
        keys = (k.bot(bot_id), k.status, k.outbox, k.story(bot_id))
        facts = (bot_id, step.attempt, iso(at), self._retention.stream_entries, story.told(step, at))
        return "move", keys, (*facts, *_flat(fields))


def _steps(decisions: Sequence[Decision]) -> Iterator[Written | _Dispatch]:
    """What is done in one script each, in the order of `decisions`."""
    start = 0
    while start < len(decisions):
        match decisions[start : start + 3]:
            case [Accept() as accept, Assign() as assign, *after] if _is_first_of(accept, assign):
                warm = next((one for one in after if isinstance(one, Warm) and one.vm_id == assign.vm_id), None)
                yield _Dispatch(accept, assign, warm)
                start += 3 if warm else 2
            case _:
                one = decisions[start]
                start += 1
                if not isinstance(one, Unsaid):
                    yield one


def _named(step: Accept | Assign | _Dispatch) -> str:
    """What was decided of whom. Not the whole of it, which holds the meeting's link."""
    match step:
        case _Dispatch():
            return f"Accept and Assign of {step.accept.bot_id}"
        case Accept():
            return f"Accept of {step.bot_id}"
        case _:
            return f"Assign of {step.join.bot_id}, attempt {step.join.attempt}"


def _is_first_of(accept: Accept, assign: Assign) -> bool:
    return (assign.join.bot_id, assign.join.attempt, accept.state) == (accept.bot_id, 1, BotState.QUEUED)


def _order(decision: Assign | Warm | Retire, at: float) -> tuple[str, bytes, bytes]:
    """A worker, its new record, and what its agent is told of it."""
    match decision:
        case Assign(join=message):
            pass
        case Warm(worker_id=worker_id):
            message = messages.Warm(worker_id)
        case _:  # Retire
            message = messages.Retire(decision.worker_id, decision.by_force)
    return message.worker_id, record.worker_record(decision, at), codec.encode(message)


def _chat_record(line: messages.ChatLine) -> bytes:
    facts = msgspec.structs.asdict(line) | {"text": line.text[:_MOST_CHAT_CHARS], "at": iso(line.at)}
    return msgspec.json.encode(facts)


def _flat(fields: Fields) -> list[str | int]:
    return [part for pair in fields.items() for part in pair]
