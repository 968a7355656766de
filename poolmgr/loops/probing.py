"""Sends a probe to each meeting of [probes] at intervals, and keeps the results. A probe is handled like every bot.

The links of a platform take turns within the interval, so that they do not all join at once.
"""

import asyncio
import json
from typing import Final

import structlog

from common.config.settings import ProbeSettings, ProbesSettings
from common.jobs.record import iso
from common.runtime.clock import Clock
from poolmgr.observe.probes import ProbeMetrics
from poolmgr.store.leader.probes import Begun, ProbeRun, Probes
from poolmgr.store.reading.views import Views
from poolmgr.telling.probes import REJECTED, UNFINISHED, concluded
from poolmgr.telling.secrecy import hide_links

_log = structlog.stdlib.get_logger()
_LOOK_EVERY_S: Final = 2.0
_PATIENCE_TURNS: Final = 3
"""A probe is given up when it has not ended after so many further turns. Other alerts show the cause."""
_DEAD_LOOKED_AT: Final = 200


class Probing:
    """The probes of one term of the leader. `run` runs until it is cancelled."""

    def __init__(
        self, settings: ProbesSettings, probes: Probes, views: Views, clock: Clock, metrics: ProbeMetrics
    ) -> None:
        self._settings = settings
        self._probes = probes
        self._views = views
        self._clock = clock
        self._metrics = metrics

    async def run(self) -> None:
        links, every_s = self._settings.links, self._settings.every_s
        self._metrics.begin(every_s if links else 0.0)
        try:
            for link in links:
                if runs := await self._probes.history(link.name, 1):
                    self._metrics.concluded(link.name, runs[0])
            while links:
                for place, link in enumerate(links):
                    await self._look(link, int(self._clock.wall() / every_s - place / len(links)))
                await asyncio.sleep(_LOOK_EVERY_S)
        finally:
            self._metrics.forget()

    async def _look(self, link: ProbeSettings, turn: int) -> None:
        begun = await self._probes.begun(link.name)
        if begun and not begun.concluded:
            run = await self._outcome(link, begun, turn)
            if run is None:
                return
            if await self._probes.conclude(link.name, run):
                self._tell(link, run)
        if begun is None or begun.turn < turn:
            await self._begin(link, turn)

    async def _begin(self, link: ProbeSettings, turn: int) -> None:
        bot_id = f"probe-{link.name}-{turn}"
        job = {"meeting_link": link.link, "bot_id": bot_id, "bot_name": link.bot_name, "probe": True}
        if link.passcode:
            job["passcode"] = link.passcode
        if await self._probes.begin(link.name, turn, bot_id, json.dumps(job).encode()):
            _log.info("probe_begun", probe=link.name, bot_id=bot_id)

    async def _outcome(self, link: ProbeSettings, begun: Begun, turn: int) -> ProbeRun | None:
        """The probe's result. None: it has not ended."""
        record = await self._views.bot(begun.bot_id)
        if record and record.is_over:
            earlier = await self._probes.history(link.name)
            return concluded(record, await self._views.story(begun.bot_id), earlier)
        at = iso(self._clock.wall())
        if record is None:
            dead = await self._views.dead(most=_DEAD_LOOKED_AT)
            if job := next((job for job in dead if job.bot_id == begun.bot_id), None):
                return ProbeRun(begun.bot_id, job.at, "", REJECTED, job.reason, hide_links(job.detail))
        if turn - begun.turn >= _PATIENCE_TURNS:
            state = record.state if record else "its job was never taken, or its record is gone"
            return ProbeRun(begun.bot_id, at, record.platform if record else "", UNFINISHED, detail=state)
        return None

    def _tell(self, link: ProbeSettings, run: ProbeRun) -> None:
        self._metrics.concluded(link.name, run)
        facts = {"probe": link.name, "bot_id": run.bot_id, "outcome": run.outcome, "reason": run.reason}
        if run.changed:
            _log.warning("probe_met_another_page", **facts, new_steps=run.new_steps)
        else:
            _log.info("probe_concluded", **facts)
