"""Why the end of a recording is missing, when its recorder stopped some time before the bot left. A stand-in for the
recorder says so; the spool is real.
"""

import asyncio
import time
from pathlib import Path

import pytest
import structlog
from playwright.async_api import Page

from common.config.settings import WorkerSettings
from common.wire.manifest import GapCause
from common.wire.messages import AutomaticLeave
from common.wire.vocabulary import BotState
from tests.waiting import wait_until
from worker.capture.progress import Opened
from worker.capture.recording import Recording
from worker.capture.spool import Spool
from worker.capture.way import FULL, CaptureOptions, Chunk, Pulled, Start, WayName
from worker.decide.state import Limits, SessionSettings, State

BEFORE_S = 60.0


class StandIn:
    """A way, and its recorder: it gave one chunk, and was `stopped` since."""

    name: WayName = "recorder_tab"
    label = "by a stand-in"

    def __init__(self, stopped: str) -> None:
        self._stopped = stopped
        self._is_over = False
        self._at = time.time() - BEFORE_S

    async def find(self, page: Page | None) -> "StandIn | None":
        return None

    async def open(self, page: Page, start: Start) -> "StandIn":
        return self

    async def pull(self, confirmed: int, wanted: int, cause: GapCause | None) -> Pulled:
        if self._is_over and self._stopped == "gone":
            raise OSError("there is no browser")
        chunk = Chunk(0, "audio", 0, self._at - 1, self._at, 0.0, b"sound", None)
        given = [chunk][confirmed:wanted]
        return Pulled(given, len(given), {"audio": self._stopped if self._is_over else ""}, 1.0)

    async def pause(self) -> None: ...

    async def resume(self, cause: GapCause) -> None: ...

    async def stop(self) -> None:
        self._is_over = True

    async def close(self) -> None: ...


@pytest.mark.parametrize(
    ("stopped", "cause"),
    [
        ("asked", "late"),
        ("tab", "tab_lost"),
        ("recorder", "recorder_lost"),
        (FULL, "agent_away"),
        ("never began", "browser_gone"),
        ("gone", "browser_gone"),
    ],
)
async def test_the_gap_at_the_end_has_the_cause_for_which_the_recorder_stopped(
    tmp_path: Path, stopped: str, cause: GapCause
) -> None:
    spool = Spool.create(tmp_path / "b1@1", Opened("b1", 1, "room", time.time() - BEFORE_S - 1))
    page: Page = object()  # pyright: ignore[reportAssignmentType]
    recording = Recording(
        spool=lambda _came_in_at, _clock: spool,
        ways=[StandIn(stopped)],
        options=CaptureOptions(("audio",), 96, 0, 0, 0, 0),
        page=lambda: page,
        voice_at=lambda: None,
        has_room=lambda: True,
        on_began=lambda _how: None,
        add_to_story=lambda line: None,
        log=structlog.get_logger(),
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(recording.run(), name="record")
        recording.note(
            State(Limits.of(AutomaticLeave(), SessionSettings.of(WorkerSettings())), 0.0, BotState.IN_MEETING)
        )
        await wait_until(lambda: recording.has_new_chunks.is_set())
        recording.end()
    [gap] = spool.progress.manifest().gaps
    assert gap.cause == cause
    assert gap.ended_at - gap.began_at == pytest.approx(BEFORE_S, abs=10)
