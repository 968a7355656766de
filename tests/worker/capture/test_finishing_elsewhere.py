"""Recordings that more than one agent finishes, or one of another VM: one manifest, and true of its files."""

import asyncio
import hashlib
import shutil
import time
from itertools import product
from pathlib import Path
from typing import Final

import msgspec
import pytest
from structlog.testing import capture_logs

from common.runtime.recordings.store import Store, StoreError
from common.wire import manifest
from common.wire.manifest import AUDIO, FINAL, SET_ASIDE
from common.wire.messages import FinishRecording
from lab.recorded.received import listen
from tests.waiting import wait_until
from tests.worker.capture.conftest import Recorded
from tests.worker.capture.left import (
    MAKING_S,
    OPENED,
    ORDER,
    RATE,
    TEN_S,
    finish,
    finishing,
    lost,
    spooled,
    store_next,
    stored,
)
from worker.capture.clock import Clock
from worker.capture.finishing import MOST_ORDERED
from worker.capture.progress import Began, Chunk
from worker.capture.spool import Spool, name_of

pytestmark = pytest.mark.timeout(3 * MAKING_S)


async def test_what_another_agent_finished_is_finished_no_second_time(recorded: Recorded, tmp_path: Path) -> None:
    spool = spooled(recorded.folder, 1000.5)
    shutil.copytree(spool.folder, tmp_path / "copy")
    before = await finish(recorded)
    shutil.copytree(tmp_path / "copy", spool.folder)
    recorded.anew()
    assert await finish(recorded) == before
    first, second = recorded.reports
    assert msgspec.structs.replace(second, at=first.at) == first, "it may not have been told"
    assert list(recorded.folder.iterdir()) == []


@pytest.mark.long
async def test_a_vm_that_comes_back_with_more_changes_nothing_of_what_another_one_finished(recorded: Recorded) -> None:
    spooled(recorded.folder, 1000.5)
    await finish(recorded)
    before = stored(recorded)
    spooled(recorded.folder, 1000.5, 1015.0)
    recorded.anew()
    with capture_logs() as logs:
        await finish(recorded)
    assert stored(recorded) == before
    assert (list(recorded.folder.iterdir()), len({report.audio_s for report in recorded.reports})) == ([], 1)
    assert [line["event"] for line in logs if "finished" in line["event"]] == ["recording_finished_before"]


class FinishedAtOnce(Store):
    """Two agents have made their files, and put their manifests at the same time."""

    both: asyncio.Barrier

    async def put(self, path: str, what: bytes | Path, *, once: bool = False, content_type: str = "") -> None:
        if path == f"b1/1/{FINAL}":
            await self.both.wait()
        await super().put(path, what, once=once, content_type=content_type)


@pytest.mark.long
async def test_of_two_agents_that_finish_at_once_the_manifest_is_true_of_its_files(recorded: Recorded) -> None:
    recorded.store = store = FinishedAtOnce(recorded.settings)
    store.both = asyncio.Barrier(2)
    there = recorded.anew()
    spooled(recorded.folder, 1000.5)
    recorded.folder = recorded.folder.parent.parent / "elsewhere" / "recordings"
    spooled(recorded.folder, 1000.5, 1015.0)
    here = recorded.anew()
    async with asyncio.timeout(MAKING_S), asyncio.TaskGroup() as tasks:
        works = [tasks.create_task(agent.finish(list), name="finish") for agent in (here, there)]
        await wait_until(lambda: not any(recorded.folder.parent.parent.rglob(name_of("b1", 1))), MAKING_S)
        for work in works:
            work.cancel()
    made = manifest.decode(recorded.file(FINAL).read_bytes())
    for file in (made.audio, made.waveform):
        assert file
        content = recorded.file(file.path).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.bytes, file.sha256)
    assert len(list(recorded.file(FINAL).parent.glob("audio-*.ogg"))) == 2, "neither replaced the other's"
    assert [report.audio_s for report in recorded.reports] == [made.audio and made.audio.duration_s] * 2


class AnsweredTooLate(Store):
    """The manifest is put, and the answer comes after the deadline. `synced`: what was synced afterwards."""

    synced: list[str]

    async def put(self, path: str, what: bytes | Path, *, once: bool = False, content_type: str = "") -> None:
        await super().put(path, what, once=once, content_type=content_type)
        if path == f"b1/1/{FINAL}":
            raise StoreError("no answer within 60 s")

    async def sync(self, path: str) -> None:
        self.synced.append(path)
        await super().sync(path)


async def test_a_manifest_that_was_put_and_not_told_is_told_by_the_next_try(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.capture.storing.RETRY_S", (0.01, 0.01))
    recorded.store = store = AnsweredTooLate(recorded.settings)
    store.synced = []
    recorded.anew()
    spooled(recorded.folder, 1000.5)
    made = await finish(recorded)
    assert made.audio
    assert [(report.finished, report.audio_s) for report in recorded.reports] == [(True, made.audio.duration_s)]
    assert (list(recorded.folder.iterdir()), store.synced) == ([], [f"b1/1/{FINAL}"])


async def test_what_is_left_of_a_recording_whose_vm_is_gone_is_finished_elsewhere_once(recorded: Recorded) -> None:
    agent = await lost(recorded)
    agent.take_over(ORDER)
    agent.take_over(ORDER)
    made = await finish(recorded)
    assert [(gap.began_at, gap.ended_at, gap.cause) for gap in made.gaps] == [
        (1010.5, 1015.0, "agent_away"), (1020.0, 1025.0, "vm_lost"),
    ]  # fmt: skip
    assert made.audio
    assert made.audio.duration_s == pytest.approx(20.0, abs=0.2)
    heard = listen(recorded.made(AUDIO))
    assert heard.tones(440, 12 * RATE)[0] < -60 < -20 < heard.tones(440, 17 * RATE)[0]
    assert (list(recorded.folder.iterdir()), len(recorded.reports)) == ([], 1)
    agent.take_over(ORDER)
    assert await finish(recorded) == made
    assert [(report.finished, report.gaps) for report in recorded.reports] == [(True, 2)] * 2, "told again, not made"


@pytest.mark.parametrize("set_by_s", [-3600.0, 3600.0])
async def test_of_a_vm_whose_clock_was_set_before_it_was_lost_as_much_is_missing_as_was_lost(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, set_by_s: float
) -> None:
    clock, wall = Clock.by_wall(), time.time
    began_at = clock.now()
    part_at = began_at + 0.5
    spool = Spool.create(
        recorded.folder / name_of("b1", 1), msgspec.structs.replace(OPENED, at=began_at, ahead_s=clock.ahead_s)
    )
    spool.append([(Began(0, part_at), Chunk(0, part_at + 10, 0.0, len(TEN_S)), TEN_S)])
    spool.cut()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: wall() + set_by_s)
        assert await store_next(recorded, spool)
    recorded.folder = recorded.folder.parent.parent / "elsewhere" / "recordings"
    recorded.anew().take_over(FinishRecording("b1", 1, began_at + set_by_s + 40.5))
    made = await finish(recorded)
    [gap] = made.gaps
    assert (gap.cause, gap.began_at - began_at) == ("vm_lost", pytest.approx(10.5))
    assert gap.ended_at - began_at == pytest.approx(40.5, abs=1.0)
    assert made.wall_ahead_s == 0


DAMAGED: Final = (b"", b'{"version": 1, "bot_id": "b1"', b"\xff\x00", b"[]")
TRIED_AT_ONCE: Final = ((b"", False), (b"[]", False), (b"\xff\x00", True))


@pytest.mark.parametrize(
    ("damaged", "is_taken_over"),
    [
        pytest.param(*each, marks=[] if each in TRIED_AT_ONCE else pytest.mark.long)
        for each in product(DAMAGED, (False, True))
    ],
)
async def test_a_manifest_that_cannot_be_read_is_set_aside_for_a_true_one(
    recorded: Recorded, damaged: bytes, is_taken_over: bool
) -> None:
    if is_taken_over:
        (await lost(recorded)).take_over(ORDER)
    else:
        spooled(recorded.folder, 1000.5)
    recorded.file(FINAL).parent.mkdir(parents=True, exist_ok=True)
    recorded.file(FINAL).write_bytes(damaged)
    with capture_logs() as logs:
        made = await finish(recorded)
    assert made.audio
    assert recorded.file(made.audio.path).is_file()
    assert [(report.finished, report.audio_s) for report in recorded.reports] == [(True, made.audio.duration_s)]
    assert recorded.made(SET_ASIDE).read_bytes() == damaged
    assert "manifest_unreadable" in [line["event"] for line in logs]
    assert list(recorded.folder.iterdir()) == []


@pytest.mark.long
async def test_it_is_taken_over_as_soon_as_the_store_answers_also_by_the_next_agent(recorded: Recorded) -> None:
    agent = await lost(recorded)
    bring_back = recorded.take_store_away()
    with capture_logs() as logs:
        async with finishing(recorded):
            agent.take_over(ORDER)
            await wait_until(lambda: any(log["event"] == "recording_unstored" for log in logs), MAKING_S)
            assert not agent.idle.is_set()
            bring_back()
            await wait_until(lambda: any(log["event"] == "recording_taken_over" for log in logs), MAKING_S)
    recorded.anew()  # whatever the first one had come to
    assert (await finish(recorded)).audio


@pytest.mark.long
async def test_of_what_is_not_there_or_here_already_nothing_is_taken_over(recorded: Recorded) -> None:
    agent = await lost(recorded)
    await recorded.store.put("spoiled/1/progress.json", b"{")
    spooled(recorded.folder, 1000.5)  # this agent has all of it
    Spool.create(recorded.folder / name_of("live", 1), OPENED)
    with capture_logs() as logs:
        for bot_id in ("nobody", "spoiled", "b1", "live"):
            agent.take_over(FinishRecording(bot_id, 1, 1040.0))
        for number in range(MOST_ORDERED):
            agent.take_over(FinishRecording(f"more-{number}", 1, 1040.0))
        made = await finish(recorded)
    assert made.gaps == []
    absent = [log["bot_id"] for log in logs if log["event"] == "recording_not_in_store"]
    assert absent == ["nobody", *(f"more-{number}" for number in range(MOST_ORDERED - 4))]
    assert [log["recording"] for log in logs if log["event"] == "recording_spoiled"] == [name_of("spoiled", 1)]
