"""Gathers everything about one bot, for `poolmgr explain` and for the bot's page."""

from collections.abc import Sequence
from typing import NamedTuple

from common.config.settings import Settings
from common.jobs.record import Record
from poolmgr.store.reading.views import DeadJob, Views, VmView
from poolmgr.store.story import Entry
from poolmgr.telling import narrative


class BotHistory(NamedTuple):
    """`waits_for`: what a live bot waits for. `kept`: the attempts whose evidence is in Redis."""

    record: Record
    entries: list[Entry]
    waits_for: list[str]
    kept: list[int]


async def look(
    views: Views, bot_id: str, settings: Settings, fleet: Sequence[VmView] | None = None
) -> BotHistory | None:
    """The history of a bot; None: there is no such bot. `fleet`: the VMs, if the caller has read them already."""
    record = await views.bot(bot_id)
    if record is None:
        return None
    entries = await views.story(bot_id)
    if fleet is None:
        fleet = await views.fleet()
    waits = narrative.waits_for(record, await views.standing(), fleet, settings.pool, settings.capture)
    return BotHistory(record, entries, waits, await views.evidence.kept_of(record))


def evidence_of(history: BotHistory) -> list[tuple[str, bool]]:
    """The names of all bundles of evidence, and whether each is in Redis."""
    bot_id = history.record.bot_id
    here = [f"{bot_id}-{attempt}" for attempt in history.kept]
    named = history.record.evidence.split()
    return [(name, name in here) for name in dict.fromkeys([*named, *here])]


async def rejected(views: Views, bot_id: str, *, most: int) -> DeadJob | None:
    """The job that named `bot_id` and was rejected, among the latest `most` of them."""
    return next((job for job in await views.dead(most=most) if job.bot_id == bot_id), None)
