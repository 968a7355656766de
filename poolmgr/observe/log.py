"""Logs decisions once they are durable: fixed event names, facts as fields, ids and no links."""

from collections.abc import Mapping
from typing import Final

import structlog

from common.wire.vocabulary import Reason
from poolmgr.core.decisions import (
    Accept,
    Ask,
    Assign,
    Decision,
    End,
    EndByForce,
    Enqueue,
    ForgetWorker,
    KeepVm,
    Move,
    Reschedule,
    Retire,
    Unsaid,
    Warm,
)
from poolmgr.store.leader.ledger import Rejected

_log = structlog.stdlib.get_logger()


def log_rejected(job: Rejected) -> None:
    _log.warning("job_rejected", reason=job.reason, detail=job.detail, bot_id=job.bot_id, size=len(job.payload))


def log_decided(decision: Decision, trace: Mapping[str, str]) -> None:
    """`trace`: the fields of the bot's trace for the log."""
    if not trace:  # mostly; and a context of its own takes longer than a line
        _log_decided(decision)
        return
    with structlog.contextvars.bound_contextvars(**trace):
        _log_decided(decision)


def _log_decided(decision: Decision) -> None:
    if isinstance(decision, _OF_WHAT_IS_OVERDUE):
        _log_overdue(decision)
    _log_change(decision)


_OF_WHAT_IS_OVERDUE: Final = (Ask, EndByForce, End, KeepVm, Retire)


def _log_overdue(decision: Ask | EndByForce | End | KeepVm | Retire) -> None:
    match decision:
        case Ask(reason=Reason.OVERDUE):
            _log.warning("bot_overdue", **_whose(decision), step="asked")
        case EndByForce():
            _log.warning("bot_overdue", **_whose(decision), step="forced")
        case End(given_up=True):
            _log.error("bot_overdue", bot_id=decision.bot_id, attempt=decision.attempt, step="given_up")
        case End(by_force=True):
            _log.warning("bot_overdue", bot_id=decision.bot_id, attempt=decision.attempt, step="ended")
        case KeepVm(is_taken_out=True):
            _log.warning("canary_taken_out", vm_id=decision.vm_id, why=decision.out)
        case Retire(by_force=True):
            _log.warning("worker_overdue", vm_id=decision.vm_id, worker_id=decision.worker_id, reason=decision.why)
        case _:
            pass


def _whose(decision: Ask | EndByForce) -> dict[str, str | int]:
    worker = {"vm_id": decision.vm_id, "worker_id": decision.worker_id}
    return {"bot_id": decision.bot_id, "attempt": decision.attempt, **worker}


def _log_change(decision: Decision) -> None:
    match decision:
        case Accept():
            _log.info("job_accepted", bot_id=decision.bot_id, platform=decision.job.platform, state=decision.state)
        case Assign():
            _log.info(
                "bot_assigned",
                bot_id=decision.join.bot_id,
                attempt=decision.join.attempt,
                vm_id=decision.vm_id,
                worker_id=decision.join.worker_id,
                warm=decision.warm,
                waited_s=round(decision.waited_s, 3),
            )
        case Move():
            _log.info(
                "bot_moved", bot_id=decision.bot_id, state=decision.state, screen=decision.screen, rule=decision.rule
            )
        case Reschedule():
            _log.info("bot_rescheduled", bot_id=decision.bot_id, join_at=decision.join_at)
        case Unsaid():
            _log.info("say_dropped", bot_id=decision.bot_id, state=decision.state or "unknown")
        case Enqueue():
            _log.info("bot_queued", bot_id=decision.bot_id, attempt=decision.attempt, reason=decision.why)
        case End():
            _log.info("bot_ended", bot_id=decision.bot_id, reason=decision.reason, detail=decision.detail)
        case Warm():
            _log.debug("worker_ordered", worker_id=decision.worker_id, reason=decision.why)
        case Retire():
            _log.info("worker_retired", worker_id=decision.worker_id, reason=decision.why)
        case ForgetWorker():
            _log.debug("worker_gone", worker_id=decision.worker_id, cause=decision.cause)
        case KeepVm():
            states = {"draining": decision.draining, "stopping": decision.stopping, "lost": decision.lost}
            _log.info("vm_changed", vm_id=decision.vm_id, resting=decision.resting, **states)
        case _:
            pass
