"""The result of a probe: whether it got in, and whether the platform's page has changed. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final

from common.jobs.record import Record, epoch
from common.wire.vocabulary import Attribution, BotState, Reason
from poolmgr.store.leader.probes import ProbeRun
from poolmgr.store.story import Entry, What

JOINED: Final = "joined"
REFUSED: Final = "refused"
FAILED: Final = "failed"
REJECTED: Final = "rejected"
UNFINISHED: Final = "unfinished"

_ENOUGH: Final = 3
"""How many earlier probes must have got in before a new rule counts as a change."""


def outcome_of(record: Record) -> str:
    """Whether the bot got in, was refused, or failed. A bot that was asked to leave was not refused."""
    if record.inmeeting_at:
        return JOINED
    if record.status_reason == str(Reason.USER_REQUESTED):
        return FAILED
    return REFUSED if record.attribution in (Attribution.HOST, Attribution.USER) else FAILED


def concluded(record: Record, entries: Sequence[Entry], earlier: Sequence[ProbeRun]) -> ProbeRun:
    """The result of a probe that has ended. `earlier`: the results of the same link.

    The page counts as changed when the bot ended because nothing on it was recognised. It also counts as changed when
    a rule recognised a screen that no earlier probe met, once _ENOUGH of those got in.
    """
    way = list(dict.fromkeys(_way(entries)))
    got_in = [run for run in earlier if run.outcome == JOINED]
    met = {step for run in earlier for step in run.way}
    new_steps = [step for step in way if step not in met] if len(got_in) >= _ENOUGH else []
    lost = record.status_reason == str(Reason.UI_ELEMENT_NOT_FOUND)
    return ProbeRun(
        bot_id=record.bot_id,
        at=record.stopped_at,
        platform=record.platform,
        outcome=outcome_of(record),
        reason=record.status_reason,
        detail=record.reason_detail,
        join_s=_join_s(record),
        way=way,
        new_steps=new_steps,
        changed=lost or bool(new_steps),
    )


def _way(entries: Sequence[Entry]) -> Iterator[str]:
    for entry in entries:
        if entry.what is What.MOVED and entry.state == BotState.IN_MEETING:
            return
        if entry.what is What.SAW and entry.screen and not entry.did:
            yield f"{entry.screen} ({entry.rule})" if entry.rule else entry.screen


def _join_s(record: Record) -> float | None:
    try:
        return round(epoch(record.inmeeting_at) - epoch(record.assigned_at), 3)
    except ValueError:
        return None
