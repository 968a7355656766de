"""The lines about durable decisions: fixed event names, facts as fields, ids and no links. chronicle.py says when."""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

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

Log: TypeAlias = structlog.stdlib.BoundLogger

_log: Log = structlog.stdlib.get_logger()


def log_rejected(job: Rejected) -> None:
    _log.warning("job_rejected", reason=job.reason, detail=job.detail, bot_id=job.bot_id, size=len(job.payload))


_OF_WHAT_IS_OVERDUE: Final = (Ask, EndByForce, End, KeepVm, Retire)


def log_overdue(decision: Decision, trace: Callable[[str], Mapping[str, str]]) -> None:
    """Log what a backstop did; nothing of any other decision. `trace`: the fields of a bot's trace for the log."""
    if isinstance(decision, _OF_WHAT_IS_OVERDUE):
        _log_overdue(decision, trace)


def _log_overdue(decision: Ask | EndByForce | End | KeepVm | Retire, trace: Callable[[str], Mapping[str, str]]) -> None:
    match decision:
        case Ask(reason=Reason.OVERDUE):
            _log.warning("bot_overdue", **_whose(decision), **trace(decision.bot_id), step="asked")
        case EndByForce():
            _log.warning("bot_overdue", **_whose(decision), **trace(decision.bot_id), step="forced")
        case End(given_up=True):
            _log.error("bot_overdue", **_whose(decision), **trace(decision.bot_id), step="given_up")
        case End(by_force=True):
            _log.warning("bot_overdue", **_whose(decision), **trace(decision.bot_id), step="ended")
        case KeepVm(is_taken_out=True):
            _log.warning("canary_taken_out", vm_id=decision.vm_id, why=decision.out)
        case Retire(by_force=True):
            _log.warning("worker_overdue", vm_id=decision.vm_id, worker_id=decision.worker_id, reason=decision.why)
        case _:
            pass


def _whose(decision: Ask | EndByForce | End) -> dict[str, str | int]:
    if isinstance(decision, End):
        return {"bot_id": decision.bot_id, "attempt": decision.attempt}
    worker = {"vm_id": decision.vm_id, "worker_id": decision.worker_id}
    return {"bot_id": decision.bot_id, "attempt": decision.attempt, **worker}


def log_decided(log: Log, decision: Decision) -> None:
    """`log`: has bound what stands in the line beside the decision, as its time."""
    match decision:
        case Accept():
            log.info("job_accepted", bot_id=decision.bot_id, platform=decision.job.platform, state=decision.state)
        case Assign():
            log.info(
                "bot_assigned",
                bot_id=decision.join.bot_id,
                attempt=decision.join.attempt,
                vm_id=decision.vm_id,
                worker_id=decision.join.worker_id,
                warm=decision.warm,
                waited_s=round(decision.waited_s, 3),
            )
        case Move():
            log.info(
                "bot_moved", bot_id=decision.bot_id, state=decision.state, screen=decision.screen, rule=decision.rule
            )
        case Reschedule():
            log.info("bot_rescheduled", bot_id=decision.bot_id, join_at=decision.join_at)
        case Unsaid():
            log.info("say_dropped", bot_id=decision.bot_id, state=decision.state or "unknown")
        case Enqueue():
            log.info("bot_queued", bot_id=decision.bot_id, attempt=decision.attempt, reason=decision.why)
        case End():
            log.info("bot_ended", bot_id=decision.bot_id, reason=decision.reason, detail=decision.detail)
        case Warm():
            log.debug("worker_ordered", worker_id=decision.worker_id, reason=decision.why)
        case Retire():
            log.info("worker_retired", worker_id=decision.worker_id, reason=decision.why)
        case ForgetWorker():
            log.debug("worker_gone", worker_id=decision.worker_id, cause=decision.cause)
        case KeepVm():
            states = {"draining": decision.draining, "stopping": decision.stopping, "lost": decision.lost}
            log.info("vm_changed", vm_id=decision.vm_id, resting=decision.resting, **states)
        case _:
            pass
