"""Carries out the pool's decisions in Redis: one script a decision, one round trip a batch, in order.

For jobs that find a worker at once, one script does all: accept them, assign them, order replacements (acceptance.py).
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeVar

import msgspec
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError

from common.config.settings import RetentionSettings
from common.errors import ManagerError
from common.jobs.job import MAX_JOB_BYTES
from common.jobs.record import Fields, iso
from common.runtime.redis.lua import Call
from common.runtime.redis.roundtrip import confirmed
from common.wire import codec, messages
from common.wire.minutes import CAPTIONS
from common.wire.vocabulary import Reason
from poolmgr.core.decisions import (
    Alone,
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
    Pause,
    Remember,
    Reschedule,
    Retire,
    Revoke,
    Say,
    Warm,
)
from poolmgr.core.events import Revoked
from poolmgr.store import record, scripts, story
from poolmgr.store.actions import MANAGER, By, Verb, Way, fields_of
from poolmgr.store.keys import Keys
from poolmgr.store.leader.acceptance import Batch, accepting, steps
from poolmgr.store.lives import GRACE_S, TAKEN_OVER_AFTER_S
from poolmgr.store.usage import day_of

R = TypeVar("R")

_MOST_CHAT_CHARS: Final = 4096


class StaleEpochError(ManagerError):
    """Another manager leads, and nothing was written."""


class DisagreementError(ManagerError):
    """The pool's state differs from Redis. The pool has to be rebuilt from Redis."""


async def run_fenced(redis: Redis, epoch_key: str, epoch: int, calls: Sequence[Call[R]]) -> list[R]:
    """Run `calls` in one round trip; returns the answers. Raises: StaleEpochError, DisagreementError, Redis'
    own errors.
    """
    answers = await confirmed(redis, [call.fenced(epoch_key, epoch) for call in calls])
    for answer in answers:
        if isinstance(answer, NoScriptError):
            raise DisagreementError("Redis restarted and lost its scripts") from answer
        if isinstance(answer, ResponseError) and str(answer).startswith("STALE_EPOCH"):
            raise StaleEpochError("another manager leads") from answer
        if isinstance(answer, Exception):
            raise answer
    return [call.script.answer(answer) for call, answer in zip(calls, answers, strict=True)]


class Rejected(NamedTuple):
    """A rejected payload, the reason, and its bot_id if it has one."""

    payload: bytes
    reason: str
    detail: str
    bot_id: str = ""


class Ledger:
    """Writes for one leader. Every method raises StaleEpochError when that leader has been replaced."""

    def __init__(
        self, redis: Redis, keys: Keys, retention: RetentionSettings, epoch: int, transcribes: str = ""
    ) -> None:
        """`transcribes`: the provider that transcribes recordings of meetings without captions."""
        self._transcribes = transcribes
        self._redis = redis
        self._keys = keys
        self._retention = retention
        self._record_life_s = int(retention.bot_s) + GRACE_S
        self._epoch = epoch

    async def apply(self, decisions: Sequence[Decision], at: float) -> list[Revoked]:
        """Carry out `decisions` in order. `at`: wall clock, epoch seconds.

        Returns the events for the pool that follow from the outcome. Raises: StaleEpochError, DisagreementError, and
        Redis' own errors; after those it is unknown which decisions were carried out.
        """
        if not decisions:
            return []
        writes = list(steps(decisions))
        if not writes:
            return []
        answers = await self._run([self._call(write, at) for write in writes])
        news: list[Revoked] = []
        for write, answer in zip(writes, answers, strict=True):
            if isinstance(write, Revoke):
                news.append(Revoked(write.bot_id, write.attempt, revoked=answer))
            elif not answer and isinstance(write, Batch | Assign):
                raise DisagreementError(f"Redis refused {_named(write)}")  # the pool's state differs
        return news

    async def reject(self, rejected: Sequence[Rejected], at: float) -> None:
        """Move taken payloads to the dead stream. `at`: wall clock, epoch seconds. Raises: as apply."""
        k, keep_dead, keep = self._keys, self._retention.dead_entries, self._retention.stream_entries
        calls: list[Call[bool]] = []
        for job in rejected:
            fields: dict[str, str | bytes] = {
                "payload": job.payload[:MAX_JOB_BYTES],  # the beginning of a huge payload is enough
                "reason": job.reason,
                "detail": job.detail[:500],
                "bot_id": job.bot_id,
                "at": iso(at),
            }
            call = scripts.reject(
                taken=k.taken,
                dead=k.dead,
                status=k.status,
                bot=k.bot(job.bot_id),
                submitted=k.submitted(job.bot_id),
                payload=job.payload,
                bot_id=job.bot_id,
                at=iso(at),
                reason=job.reason,
                detail=job.detail[:500],
                keep_dead=keep_dead,
                keep=keep,
                fields=fields,
            )
            calls.append(call)
        await self._run(calls)

    async def _run(self, calls: Sequence[Call[bool]]) -> list[bool]:
        return await run_fenced(self._redis, self._keys.epoch, self._epoch, calls)

    def _call(self, step: Batch | Alone, at: float) -> Call[bool]:
        k = self._keys
        match step:
            case Batch():
                return accepting(step, k, self._retention, at)
            case Assign():
                return self._assign(step, at)
            case Move():
                return self._move(step, step.at, at, record.moved(step))
            case Enqueue():
                return self._move(step, at, at, record.enqueued(step))
            case Reschedule():
                bot, story_key = k.bot(step.bot_id), k.story(step.bot_id)
                return scripts.reschedule(
                    bot=bot, story=story_key, join_at=iso(step.join_at), entry=story.entry_of(step, at)
                )
            case Remember():
                return scripts.note(bot=k.bot(step.bot_id), attempt=step.attempt, fields=record.remembered(step))
            case Note() | NoteRecorded():
                return self._note(step, at)
            case NoteFailed():
                return scripts.relate(
                    bot=k.bot(step.bot_id),
                    story=k.story(step.bot_id),
                    attempt=step.attempt,
                    entry=story.entry_of(step, at),
                    bundle=step.evidence,
                    fields={},
                )
            case Pause(vm_id="", bot_id=bot_id, attempt=attempt, paused=paused):
                return scripts.note(bot=k.bot(bot_id), attempt=attempt, fields={"paused": int(paused)})
            case Revoke():
                return scripts.revoke(bot=k.bot(step.bot_id), attempt=step.attempt)
            case End():
                return self._end(step, at)
            case _:
                return self._vm_call(step, at)

    def _assign(self, assign: Assign, at: float) -> Call[bool]:
        k, bot_id, vm_id = self._keys, assign.join.bot_id, assign.vm_id
        worker_id, worker, message = record.order_of(assign, at)
        return scripts.assign(
            bot=k.bot(bot_id),
            workers=k.workers(vm_id),
            commands=k.commands(vm_id),
            status=k.status,
            outbox=k.outbox,
            story=k.story(bot_id),
            bot_id=bot_id,
            attempt=assign.join.attempt,
            worker_id=worker_id,
            worker=worker,
            message=message,
            at=iso(at),
            keep=self._retention.stream_entries,
            entry=story.entry_of(assign, at),
            fields=record.assigned(assign, at),
        )

    def _move(self, step: Move | Enqueue, moved_at: float, at: float, fields: Fields) -> Call[bool]:
        k, bot_id = self._keys, step.bot_id
        return scripts.move(
            bot=k.bot(bot_id),
            status=k.status,
            outbox=k.outbox,
            story=k.story(bot_id),
            bot_id=bot_id,
            attempt=step.attempt,
            at=iso(moved_at),
            keep=self._retention.stream_entries,
            entry=story.entry_of(step, at),
            fields=fields,
        )

    def _end(self, end: End, at: float) -> Call[bool]:
        k, bot_id = self._keys, end.bot_id
        fields, stopped = record.ended(end, at), end.at or at
        awaited_since = max(at, min(stopped, at + TAKEN_OVER_AFTER_S))  # `stopped` is by the clock of the VM
        return scripts.end(
            bot=k.bot(bot_id),
            usage=k.usage(day_of(stopped)),
            status=k.status,
            outbox=k.outbox,
            live=k.live,
            ended=k.ended,
            by_status=k.index("status", str(fields["status"])),
            story=k.story(bot_id),
            owned=k.owned(end.owner) if end.owner else None,
            due=k.recordings_due,
            bot_id=bot_id,
            at=iso(stopped),
            keep=self._retention.stream_entries,
            stopped=stopped,
            awaited_since=iso(awaited_since),
            look_at=awaited_since + TAKEN_OVER_AFTER_S,
            record_life_s=self._record_life_s,
            entry=story.entry_of(end, at),
            bundle=end.evidence,
            fields=fields,
        )

    def _note(self, note: Note | NoteRecorded, at: float) -> Call[bool]:
        if isinstance(note, NoteRecorded):
            told = note.event
            match told:
                case messages.BotStreamed():
                    return self._streamed(told, at)
                case messages.BotTranscribed():
                    return self._transcribed(told, at)
                case _:
                    return self._recorded(told, at)
        event = note.event
        k, attempt, life_s = self._keys, event.attempt, self._record_life_s
        bot = k.bot(event.bot_id)
        match event:
            case messages.BotVitals():
                return scripts.note(bot=bot, attempt=attempt, fields=record.vitals(event))
            case messages.BotSaw():
                return scripts.relate(
                    bot=bot,
                    story=k.story(event.bot_id),
                    attempt=attempt,
                    entry=story.entry_of(event, at),
                    bundle="",
                    fields=record.seen(event, note.status),
                )
            case messages.ParticipantsSeen():
                return scripts.note_participants(
                    bot=bot,
                    participants=k.participants(event.bot_id),
                    attempt=attempt,
                    life_s=life_s,
                    at=iso(event.at),
                    nobody_else=event.anew,
                    came=[part for participant in event.joined for part in (participant.id, participant.name)],
                    left=event.left,
                )
            case messages.PermissionSeen():
                return scripts.note_permission(
                    bot=bot,
                    outbox=k.outbox,
                    bot_id=event.bot_id,
                    attempt=attempt,
                    number=event.number,
                    at=iso(event.at),
                    permission="allowed" if event.allowed else "denied",
                )
            case _:  # ChatHeard
                lines = [*map(_chat_record, event.chats)]
                chats = k.chats(event.bot_id)
                return scripts.note_chat(bot=bot, chats=chats, attempt=attempt, life_s=life_s, lines=lines)

    def _recorded(self, event: messages.BotRecorded, at: float) -> Call[bool]:
        k, bot_id = self._keys, event.bot_id
        if event.unmade:
            return scripts.recording_unmade(
                bot=k.bot(bot_id),
                story=k.story(bot_id),
                attempt=event.attempt,
                vm_id=event.vm_id,
                why=event.unmade,
                entry=story.entry_of(event, at),
            )
        status = "completed" if event.finished else "recording"
        return scripts.recorded(
            bot=k.bot(bot_id),
            outbox=k.outbox,
            story=k.story(bot_id),
            due=k.recordings_due,
            expiring=k.recordings_expiring,
            transcriptions_due=k.transcriptions_due,
            usage=k.usage(day_of(event.at)),
            bot_id=bot_id,
            attempt=event.attempt,
            at=iso(event.at),
            stamp=at,
            retention_s=self._retention.recording_s,
            manifest_status=status,
            audio_status=event.status_of("audio"),
            video_status=event.status_of("video"),
            audio_s=event.audio_s,
            stored_bytes=event.stored_bytes,
            entry=story.entry_of(event, at),
            over=record.SAID_BEFORE[status],
        )

    def _transcribed(self, event: messages.BotTranscribed, at: float) -> Call[bool]:
        k, bot_id = self._keys, event.bot_id
        return scripts.transcribed(
            bot=k.bot(bot_id),
            outbox=k.outbox,
            story=k.story(bot_id),
            transcriptions=k.transcriptions(bot_id),
            due=k.transcriptions_due,
            unmade=k.recordings_due,
            expiring=k.recordings_expiring,
            bot_id=bot_id,
            attempt=event.attempt,
            at=iso(event.at),
            stamp=at,
            retention_s=self._retention.recording_s,
            transcript_status=record.transcript_status(event),
            by=event.by or CAPTIONS,
            after=self._transcribes,
            entry=story.entry_of(event, at),
        )

    def _streamed(self, event: messages.BotStreamed, at: float) -> Call[bool]:
        k, bot_id = self._keys, event.bot_id
        entry, fields = story.entry_of(event, at), record.streamed(event)
        return scripts.streamed(
            bot=k.bot(bot_id),
            story=k.story(bot_id),
            noted=k.noted,
            keep=self._retention.stream_entries,
            bot_id=bot_id,
            attempt=event.attempt,
            entry=entry,
            noted_as=record.taken_by_receiver(event),
            fields=fields,
        )

    def _vm_call(
        self,
        decision: Ask | EndByForce | Say | Pause | Warm | Retire | KeepWorker | ForgetWorker | KeepVm | ForgetVm,
        at: float,
    ) -> Call[bool]:
        k, vm_id = self._keys, decision.vm_id
        match decision:
            case Warm() | Retire() | KeepWorker() | ForgetWorker():
                return self._order(decision, at)
            case Ask(worker_id=worker_id, bot_id=bot_id, attempt=attempt, reason=reason):
                message = messages.Leave(worker_id, bot_id, attempt, reason)
                is_wished = reason not in (Reason.SUPERSEDED, Reason.OVERDUE)
                entry = story.entry_of(decision, at) if reason is not Reason.SUPERSEDED else b""
                return self._ask(decision, message, is_wished=is_wished, entry=entry)
            case EndByForce(worker_id=worker_id):
                entry = story.entry_of(decision, at)
                return self._ask(decision, messages.Retire(worker_id, by_force=True), entry=entry)
            case Say(worker_id=worker_id, bot_id=bot_id, attempt=attempt, message=text):
                return self._ask(decision, messages.Say(worker_id, bot_id, attempt, text))
            case Pause(worker_id=worker_id, bot_id=bot_id, attempt=attempt, paused=paused):
                order = messages.Pause(worker_id, bot_id, attempt, paused)
                return self._ask(decision, order, paused=str(int(paused)))
            case KeepVm():
                itself = By(MANAGER, Way.MANAGER) if decision.is_taken_out else None
                return scripts.keep_vm(
                    vm=k.vm(vm_id),
                    workers=k.workers(vm_id),
                    vms=k.vms,
                    commands=k.commands(vm_id),
                    actions=k.actions,
                    vm_id=vm_id,
                    life_s=int(self._retention.vm_s),
                    is_lost=decision.lost,
                    fields=record.vm_kept(decision, at),
                    action=fields_of(itself, Verb.DRAIN, vm_id, decision.out),
                )
            case _:  # ForgetVm
                workers, commands = k.workers(vm_id), k.commands(vm_id)
                return scripts.forget_vm(vm=k.vm(vm_id), workers=workers, commands=commands, vms=k.vms, vm_id=vm_id)

    def _ask(
        self,
        decision: Ask | EndByForce | Say | Pause,
        message: messages.Command,
        *,
        is_wished: bool = False,
        paused: str = "",
        entry: bytes = b"",
    ) -> Call[bool]:
        k, bot_id = self._keys, decision.bot_id
        return scripts.ask(
            bot=k.bot(bot_id),
            commands=k.commands(decision.vm_id),
            story=k.story(bot_id),
            attempt=decision.attempt,
            message=codec.encode(message),
            is_wished=is_wished,
            paused=paused,
            entry=entry,
        )

    def _order(self, decision: Warm | Retire | KeepWorker | ForgetWorker, at: float) -> Call[bool]:
        k, vm_id, worker_id = self._keys, decision.vm_id, decision.worker_id
        message = b""
        stories: Sequence[str] = ()
        entries: Sequence[bytes] = ()
        match decision:
            case Warm():
                _, worker, message = record.order_of(decision, at)
            case Retire(served=served):
                _, worker, message = record.order_of(decision, at)
                stories = [k.story(served)] if served else []
                entries = [story.entry_of(decision, at)] if served else []
            case KeepWorker():
                worker = record.worker_record(decision, at)
            case _:  # ForgetWorker
                worker = b""
        return scripts.order(
            workers=k.workers(vm_id),
            commands=k.commands(vm_id),
            stories=stories,
            worker_id=worker_id,
            worker=worker,
            message=message,
            entries=entries,
        )


def _named(write: Batch | Assign) -> str:
    """The decisions' names and bots, for an error. Whole decisions contain links of meetings."""
    if isinstance(write, Assign):
        return f"Assign of {write.join.bot_id}, attempt {write.join.attempt}"
    return "; ".join(f"Accept{' and Assign' if job.assign else ''} of {job.accept.bot_id}" for job in write.jobs)


def _chat_record(line: messages.ChatLine) -> bytes:
    facts = msgspec.structs.asdict(line) | {"text": line.text[:_MOST_CHAT_CHARS], "at": iso(line.at)}
    return msgspec.json.encode(facts)
