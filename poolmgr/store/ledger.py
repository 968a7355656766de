"""Carries out the pool's decisions in Redis: each decision one script, all of a batch in one round trip, in order."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError

from poolmgr.core.decisions import (
    Accept,
    Ask,
    Assign,
    Decision,
    End,
    Enqueue,
    ForgetVm,
    ForgetWorker,
    KeepVm,
    KeepWorker,
    Move,
    NoteVitals,
    Retire,
    Revoke,
    Warm,
)
from poolmgr.core.events import Revoked
from poolmgr.core.job import MAX_JOB_BYTES
from poolmgr.store import record
from poolmgr.store.keys import Keys
from poolmgr.store.scripts import DIGESTS
from wire import codec, messages
from wire.settings import RetentionSettings
from wire.vocabulary import Reason

_VM_LIFE_S: Final = 86400
"""The end of a VM's keys when nobody speaks to it, is heard of it, or leads. Renewed by agent and reaper until then."""

_MUST_SUCCEED: Final = (Accept, Assign)
"""When Redis answers 0 to one of these, what the pool believes is not what Redis holds."""


class StaleEpochError(Exception):
    """Another manager leads. Nothing was written."""


class DisagreementError(Exception):
    """Redis does not hold what the pool believed. The pool has to be rebuilt from Redis."""


class Rejected(NamedTuple):
    """A job that is none: what came, why not, and the bot_id it was to have, if it named one."""

    payload: bytes
    reason: str
    detail: str
    bot_id: str = ""


class Ledger:
    """Writes for one leader. Every method raises StaleEpochError when that leader has been replaced."""

    def __init__(self, redis: Redis, keys: Keys, retention: RetentionSettings, epoch: int) -> None:
        self._redis: Any = redis  # its answers are typed as unions of every shape; tests pin the real ones
        self._keys = keys
        self._retention = retention
        self._epoch = epoch

    async def apply(self, decisions: Sequence[Decision], at: float) -> list[Revoked]:
        """Make `decisions` true, in their order. `at`: wall clock, epoch seconds.

        Returns what the pool has to be told of the outcome. Raises: StaleEpochError, DisagreementError, and Redis'
        own errors, after which it is not known which of them were carried out.
        """
        if not decisions:
            return []
        pipeline = self._redis.pipeline(transaction=False)
        for decision in decisions:
            script, keys, arguments = self._call(decision, at)
            pipeline.evalsha(DIGESTS[script], len(keys) + 1, self._keys.epoch, *keys, self._epoch, *arguments)
        answers = await _execute(pipeline)
        news: list[Revoked] = []
        for decision, answer in zip(decisions, answers, strict=True):
            if isinstance(decision, Revoke):
                news.append(Revoked(decision.bot_id, decision.attempt, revoked=bool(answer)))
            elif not answer and isinstance(decision, _MUST_SUCCEED):
                raise DisagreementError(f"Redis refused {decision!r:.300}")
        return news

    async def reject(self, rejected: Sequence[Rejected], at: float) -> None:
        """Move taken payloads to the dead stream. `at`: wall clock, epoch seconds. Raises: as apply."""
        k, pipeline = self._keys, self._redis.pipeline(transaction=False)
        for job in rejected:
            fields: record.Fields = {
                "reason": job.reason,
                "detail": job.detail[:500],
                "bot_id": job.bot_id,
                "at": record.iso(at),
            }
            kept = job.payload[:MAX_JOB_BYTES]  # a 10 MB job is evidence enough by its beginning
            keys = (k.epoch, k.taken, k.dead, k.status, k.bot(job.bot_id))
            limits = (self._retention.dead_entries, job.bot_id, record.iso(at), self._retention.stream_entries)
            arguments = (job.payload, *limits, job.reason, "payload", kept, *_flat(fields))
            pipeline.evalsha(DIGESTS["reject"], len(keys), *keys, self._epoch, *arguments)
        await _execute(pipeline)

    def _call(self, decision: Decision, at: float) -> tuple[str, tuple[str, ...], tuple[Any, ...]]:
        """The script, its keys after the epoch's, and its arguments after the epoch."""
        k, keep, bot_s = self._keys, self._retention.stream_entries, int(self._retention.bot_s)
        match decision:
            case Accept():
                job = decision.job
                keys = (k.bot(decision.bot_id), k.taken, k.live, k.status, k.deduplication(job.deduplication_key))
                with_key = "1" if job.deduplication_key else "0"
                arguments = (decision.bot_id, job.payload, decision.at, record.iso(decision.at), keep, bot_s, with_key)
                return "accept", keys, (*arguments, *_flat(record.accepted(decision)))
            case Assign():
                join = decision.join
                keys = (k.bot(join.bot_id), k.workers(decision.vm_id), k.commands(decision.vm_id), k.status)
                worker = record.worker_record(decision, at)
                arguments = (join.bot_id, join.attempt, join.worker_id, worker, codec.encode(join), record.iso(at))
                tail = (keep, _VM_LIFE_S)
                return "assign", keys, (*arguments, *tail, *_flat(record.assigned(decision, at)))
            case Move():
                return self._move(decision.bot_id, decision.attempt, decision.at, record.moved(decision))
            case Enqueue():
                return self._move(decision.bot_id, decision.attempt, at, record.enqueued(decision))
            case NoteVitals():
                return "note", (k.bot(decision.bot_id),), (decision.attempt, *_flat(record.vitals(decision)))
            case Revoke():
                return "revoke", (k.bot(decision.bot_id),), (decision.attempt,)
            case End():
                keys = (k.bot(decision.bot_id), k.status, k.live, k.ended)
                stopped = decision.at or at
                arguments = (decision.bot_id, record.iso(stopped), keep, stopped, bot_s)
                return "end", keys, (*arguments, *_flat(record.ended(decision, at)))
            case _:
                return self._vm_call(decision, at)

    def _vm_call(
        self,
        decision: Ask | Warm | Retire | KeepWorker | ForgetWorker | KeepVm | ForgetVm,
        at: float,
    ) -> tuple[str, tuple[str, ...], tuple[Any, ...]]:
        k, vm_id = self._keys, decision.vm_id
        order_keys = (k.workers(vm_id), k.commands(vm_id))
        match decision:
            case Ask(worker_id=worker_id, bot_id=bot_id, attempt=attempt, reason=reason):
                message = codec.encode(messages.Leave(worker_id, bot_id, attempt, reason))
                mark = int(reason is not Reason.SUPERSEDED)
                return "ask", (k.bot(bot_id), k.commands(vm_id)), (attempt, message, _VM_LIFE_S, mark)
            case Warm() | Retire():
                kind = messages.Warm if isinstance(decision, Warm) else messages.Retire
                message = codec.encode(kind(decision.worker_id))
                worker = record.worker_record(decision, at)
                return "order", order_keys, (decision.worker_id, worker, message, _VM_LIFE_S)
            case KeepWorker():
                worker = record.worker_record(decision, at)
                return "order", order_keys, (decision.worker_id, worker, "", _VM_LIFE_S)
            case ForgetWorker():
                return "order", order_keys, (decision.worker_id, "", "", _VM_LIFE_S)
            case KeepVm():
                facts: record.Fields = {
                    "session": decision.session,
                    "draining": int(decision.draining),
                    "lost": int(decision.lost),
                    "at": record.iso(at),
                }
                return (
                    "keep_vm",
                    (k.vm(vm_id), k.workers(vm_id), k.vms),
                    (vm_id, int(self._retention.vm_s), int(decision.lost), *_flat(facts)),
                )
            case _:  # ForgetVm
                return "forget_vm", (k.vm(vm_id), k.workers(vm_id), k.commands(vm_id), k.vms), (vm_id,)

    def _move(
        self, bot_id: str, attempt: int, at: float, fields: record.Fields
    ) -> tuple[str, tuple[str, ...], tuple[Any, ...]]:
        keys = (self._keys.bot(bot_id), self._keys.status)
        return "move", keys, (bot_id, attempt, record.iso(at), self._retention.stream_entries, *_flat(fields))


def _flat(fields: record.Fields) -> list[str | int]:
    return [part for pair in fields.items() for part in pair]


async def _execute(pipeline: Any) -> list[Any]:
    answers: list[Any] = await pipeline.execute(raise_on_error=False)
    for answer in answers:
        if isinstance(answer, NoScriptError):
            raise DisagreementError("Redis restarted and lost its scripts") from answer
        if isinstance(answer, ResponseError) and str(answer).startswith("STALE_EPOCH"):
            raise StaleEpochError("another manager leads") from answer
        if isinstance(answer, Exception):
            raise answer
    return answers
