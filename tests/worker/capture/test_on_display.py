"""A bot that is recorded by ffmpeg, from its worker's virtual display and sound server."""

import array
import asyncio
import io
import os
import shutil
import signal
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

import av
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from common.config.settings import CaptureSettings
from common.wire import manifest
from common.wire.manifest import AUDIO, FINAL, VIDEO, Kind
from common.wire.messages import Heartbeat, Join, Warm, WorkerReport, WorkerWarm
from common.wire.minutes import SO_FAR, SPEAKERS
from common.wire.vocabulary import Reason, WorkerState
from lab.recorded.received import RATE, level, listen
from lab.recorded.seeing import NOTE, PATTERN, watch
from tests.fork_server import ForkServer
from tests.waiting import PATIENCE_S, wait_until
from tests.worker.capture.conftest import Recorded, finished, go_in, harness_of, somebody_in, story
from tests.worker.capture.test_pictures import beeps, box_of, later_s, page_of, parts
from tests.worker.test_agent import machine_with
from worker.capture.clock import Clock
from worker.capture.making import sound
from worker.capture.making.work import Stream
from worker.capture.on_display import DisplayRecorder, DisplayWay
from worker.capture.way import FULL, PAUSED, CaptureOptions, Chunk, Pulled, Start
from worker.chromium import display, processes
from worker.chromium.driver import Driver
from worker.live.decoding import Decoder

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(
        not all(map(shutil.which, display.RECORDING_PROGRAMS)), reason="needs Xvfb, PulseAudio and ffmpeg"
    ),
]


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path, "display")


@pytest_asyncio.fixture(loop_scope="session")
async def seen_somebody(somebodys: Browser, room: str) -> AsyncGenerator[Page]:
    async with somebody_in(somebodys, room, PATTERN, camera=True) as page:
        yield page


def program_of(worker: Path, name: str) -> int | None:
    """The id of the worker's ffmpeg, pulseaudio or Xvfb."""
    for process in processes.scan():
        line = processes.command_line(process.pid)
        if f"/{name} " in line.partition("-")[0] and f"{worker}/" in line:
            return process.pid
    return None


@pytest.mark.long
async def test_a_counter_and_tones_are_in_one_file_in_step(
    recorded: Recorded, driver: Driver, room: str, seen_somebody: Page
) -> None:
    async with harness_of(recorded, driver, room, video=True) as harness:
        await go_in(harness)
        await wait_until(lambda: any(path.suffix == ".mkv" for path in recorded.spooled))
        box = await box_of(harness)
        page = page_of(harness)
        await page.evaluate(NOTE)
        await asyncio.sleep(5)
        noted = await page.evaluate("noted")
        harness.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
        await harness.gone()
    assert any(did.startswith("record its sound and picture, by ffmpeg") for did in story(harness))
    made = await finished(recorded)
    missing = [gap for gap in made.gaps if gap.cause != "late"]  # as on a machine that is very busy
    assert (made.way, missing, parts(made)) == ("display", [], {"audio": 1, "video": 1})
    assert {Path(segment.path).suffix for segment in made.segments} == {".webm", ".mkv"}
    assert made.audio
    assert made.video
    assert (made.video.width, made.video.height, made.video.damaged) == (640, 360, 0)
    whole = watch(recorded.made(VIDEO), box)
    assert whole.duration_s == pytest.approx(made.audio.duration_s, abs=1.0)
    counters = [each.counter for each in whole.pictures if each.at > 2]
    assert counters == sorted(counters), "in order, none of it unreadable"
    heard = listen(recorded.made(VIDEO))
    clearest = heard.clearest(440, 1000)
    for hz, (loud, quiet) in ((440, heard.tones(440, clearest)), (1000, heard.tones(1000, clearest)[::-1])):
        assert loud - quiet > 30, f"{hz} Hz is on its own side only"
    rate = whole.rate(3, whole.duration_s - 1)
    picture = later_s(noted["flashes"], [made.began_at + at for at in whole.flashes])
    sound = later_s(noted["beeps"], [made.began_at + at for at in beeps(heard)])
    print(f"{rate:.2f} a second, picture {picture * 1000:.0f} ms, sound {sound * 1000:.0f} ms late: {made.video}")
    assert rate > 2, "15 where the machine has time"
    assert abs(sound - picture) < 0.1 + 0.5 / rate, "as the page had them, as far as so many pictures a second can tell"


@pytest.mark.long
async def test_neither_a_killed_ffmpeg_nor_a_killed_agent_nor_the_end_of_the_sound_server_costs_what_was_recorded(
    fork_server: ForkServer, redis_server: str, prefix: str, tmp_path: Path, somebodys: Browser
) -> None:
    recorded = Recorded(tmp_path, "display")
    async with machine_with(fork_server, redis_server, prefix, tmp_path) as machine:
        machine.environment["POOLMGR_CAPTURE__STORE"] = recorded.settings.store
        machine.environment["POOLMGR_CAPTURE__VIDEO"] = "display"
        worker = machine.state_dir / "workers" / "w1"
        async with somebody_in(somebodys, machine.meeting):
            agent = await machine.agent()
            await agent.order(Warm("w1", display=True))
            await agent.seen(WorkerWarm)
            await agent.enter("w1", "b1", warm=False)
            await wait_until(lambda: sum(path.stat().st_size for path in recorded.spooled) > 10_000)
            first = program_of(worker, "ffmpeg")
            assert first
            ffmpeg_killed_at = time.time()
            os.kill(first, signal.SIGKILL)
            await wait_until(lambda: program_of(worker, "ffmpeg") not in (None, first))
            await agent.kill()
            before = len(list((worker / "capture/runs").rglob("audio-*")))
            await wait_until(lambda: len(list((worker / "capture/runs").rglob("audio-*"))) > before + 1)
            successor = await machine.agent()
            await successor.logged("worker_adopted")
            await wait_until(lambda: not list((worker / "capture/runs").rglob("audio-*"))[before + 1 :])
            sound_server = program_of(worker, "pulseaudio")
            assert sound_server
            sound_killed_at = time.time()
            os.kill(sound_server, signal.SIGKILL)
            ended = await successor.ended("b1")
            await wait_until(lambda: recorded.file(FINAL).exists())
            await wait_until(lambda: recorded.file(SPEAKERS).exists() and not recorded.file(SO_FAR).exists())
    assert ended.reason is Reason.BROWSER_CRASHED
    made = manifest.decode(recorded.file(FINAL).read_bytes())
    assert (made.way, parts(made)) == ("display", {"audio": 2})
    [lost] = [gap for gap in made.gaps if gap.cause == "recorder_lost"]
    assert lost.began_at > ffmpeg_killed_at - 2
    assert {gap.cause for gap in made.gaps} <= {"recorder_lost", "late", "browser_gone"}
    assert made.segments[-1].ended_at > sound_killed_at - 2
    assert made.audio
    assert made.ended_at
    assert made.audio.duration_s == pytest.approx(made.ended_at - made.began_at, abs=2)
    heard = listen(recorded.made(AUDIO))
    while_away = round((sound_killed_at - made.began_at - 3) * RATE)
    assert level(heard.left[while_away : while_away + RATE]) > 0.01
    assert {path.suffix for path in recorded.file("x").parent.iterdir()} == {".webm", ".json", ".ogg"}


# The recorder, without a browser


@pytest_asyncio.fixture(loop_scope="session")
async def worker(tmp_path: Path) -> AsyncGenerator[Path]:
    """The folder of a worker with a display and a sound server, in which a sleeper stands for the browser."""
    folder = tmp_path / "w1"
    (folder / "home").mkdir(parents=True)
    command = display.command(folder, "640x480", ["/bin/sleep", "600"], records=True)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder / "home")}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environment | display.environment(folder, records=True), start_new_session=True
    )
    (folder / "leader").write_text(str(process.pid))
    await wait_until(lambda: takes_orders(folder))
    yield folder
    os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def takes_orders(folder: Path) -> bool:
    with suppress(OSError):
        os.close(os.open(folder / "orders", os.O_WRONLY | os.O_NONBLOCK))
        return True
    return False


async def recorder_of(worker: Path, buffer_s: int = 600, *, paused: bool = False) -> DisplayRecorder:
    options = CaptureOptions(("audio",), 32, 100, 320, 180, 5)
    way = DisplayWay(worker)
    assert await way.find(None) is None
    no_page = cast("Page", None)  # of which the sound needs nothing
    return await way.open(no_page, Start(options, buffer_s, 250, {"audio": 3}, 7, None, paused, Clock.by_wall()))


async def waiting(
    recorder: DisplayRecorder, seen: Callable[[Pulled], object], confirmed: int = 7, wanted: int = 60
) -> Pulled:
    """What waits once it is as is waited for."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            pulled = await recorder.pull(confirmed, wanted, "spool_full")
            if seen(pulled):
                return pulled
            await asyncio.sleep(0.05)


def decoded(chunks: list[bytes]) -> list[int]:
    """What whoever listens live hears."""
    samples, over = array.array("h"), threading.Event()

    def take(sound: bytes) -> None:
        samples.frombytes(sound)
        if not sound:
            over.set()

    decoder = Decoder(take)
    decoder.begin()
    for chunk in chunks:
        decoder.put(0, chunk)
    decoder.end()
    assert over.wait(PATIENCE_S)
    return list(samples)


def packets_of(chunks: Sequence[Chunk]) -> list[tuple[float, int]]:
    """Of their sound: when each packet begins by its own time, s, and how many samples it has."""
    with av.open(io.BytesIO(b"".join(chunk.content for chunk in chunks)), "r") as file:
        return [
            (float(packet.pts * packet.time_base), sound.samples_of(bytes(packet)))
            for packet in file.demux()
            if packet.pts is not None and packet.time_base
        ]


def surplus_s(packets: Sequence[tuple[float, int]]) -> float:
    """How much more sound there is than time, but for the first five seconds."""
    (began_s, _), *_, (last_s, samples) = packets[250:]
    return sum(samples for _, samples in packets[250:]) / RATE - (last_s + samples / RATE - began_s)


async def test_whoever_comes_later_finds_the_same_chunks_under_the_same_numbers(worker: Path) -> None:
    recorder = await recorder_of(worker)
    first = await waiting(recorder, lambda pulled: len(pulled.chunks) >= 4)
    ffmpeg = program_of(worker, "ffmpeg")
    assert ffmpeg
    assert str(os.getpgid(ffmpeg)) == (worker / "leader").read_text()
    assert "x11grab" not in processes.command_line(ffmpeg), "no picture was asked for"
    assert [chunk.seq for chunk in first.chunks] == list(range(7, 7 + len(first.chunks)))
    assert {(chunk.kind, chunk.part, chunk.cause) for chunk in first.chunks} == {("audio", 3, None)}
    assert first.stopped == {"audio": ""}
    assert first.level == 0, "nothing plays"
    assert (await DisplayRecorder(worker).pull(7, 0, None)).level == 0, "the file's header is no sound"

    later = await DisplayWay(worker).find(None)
    assert later
    again = await later.pull(9, 2, None)
    assert again.chunks == first.chunks[2:4]
    assert again.waiting >= len(first.chunks) - 2
    await later.stop()
    rest = await later.pull(9, 60, None)
    assert rest.stopped == {"audio": "asked"}
    assert [chunk.seq for chunk in rest.chunks] == list(range(9, 9 + len(rest.chunks)))
    assert rest.level == 0
    louder = min((worker / "capture" / "chunks").iterdir())
    louder.write_bytes(bytes(10_000))
    assert (await DisplayRecorder(worker).pull(9, 0, None)).level == 1, "of the loudest, not of the latest"
    chunks = [*first.chunks[:2], *rest.chunks]
    # A sound server that a busy machine lets wait gives less sound than time has passed.
    played_s = sum(samples for _, samples in packets_of(chunks)) / RATE
    assert len(decoded([chunk.content for chunk in chunks])) / RATE == pytest.approx(played_s, abs=0.1)
    assert (await later.pull(9 + len(rest.chunks), 60, None)).chunks == []
    await later.close()
    assert await DisplayWay(worker).find(None) is None


@pytest.mark.long
async def test_sound_keeps_to_the_wall_clock_though_the_sound_server_has_more_of_it(worker: Path) -> None:
    """Pieces of 31 samples: their lengths, rounded down, are 0.13 % less than they are."""
    tone = ("-f", "lavfi", "-i", "sine=sample_rate=48000,asetnsamples=31")
    player = await asyncio.create_subprocess_exec(
        *("ffmpeg", "-v", "error", "-nostdin", *tone, "-f", "pulse", "played"),
        env=os.environ | display.environment(worker, records=True),
    )
    recorder = await recorder_of(worker)
    # A busy machine plays less than the server could give: there is a surplus only while it plays.
    seen = await waiting(
        recorder, lambda pulled: pulled.waiting > 4 * 30 and surplus_s(packets_of(pulled.chunks)) > 0.03, wanted=2400
    )
    player.kill()
    await player.wait()
    packets = packets_of(seen.chunks)
    (worker / "part").write_bytes(b"".join(chunk.content for chunk in seen.chunks))
    sound.make([Stream(str(worker / "part"), 0.0, keeps_time=True)], str(worker / "made.ogg"))
    heard = listen(worker / "made.ogg")
    assert level(heard.left) > 0.01, "it plays"
    last_s, samples = packets[-1]
    late_s = heard.duration_s - (last_s + samples / RATE)
    print(f"{surplus_s(packets) * 1000:.0f} ms too much were recorded, {late_s * 1000:.0f} ms are in the file")
    assert late_s < surplus_s(packets) - 0.02


@pytest.mark.long
async def test_what_nobody_fetches_is_bounded_and_it_goes_on_when_somebody_does(worker: Path) -> None:
    recorder = await recorder_of(worker, buffer_s=4)
    await waiting(recorder, lambda pulled: pulled.chunks)  # the buffer's time counts from here, not from a slow start
    full = await waiting(recorder, lambda pulled: pulled.stopped["audio"] == FULL, wanted=0)
    assert full.chunks == []
    assert 8 < full.waiting <= 32
    kept = await recorder.pull(7, 60, "spool_full")
    assert len(kept.chunks) == kept.waiting
    last = kept.chunks[-1].seq
    over = DisplayRecorder(worker)
    await over.stop()
    nothing = await over.pull(last + 1, 60, "spool_full")
    assert (nothing.chunks, nothing.stopped["audio"]) == ([], FULL), "one whose bot is out records nothing more"
    again = await waiting(recorder, lambda pulled: pulled.chunks, confirmed=last + 1)
    first = again.chunks[0]
    assert (first.seq, first.part, first.cause) == (last + 1, 4, "spool_full")


@pytest.mark.parametrize("set_by_s", [pytest.param(-60.0, marks=pytest.mark.long), 60.0])
async def test_another_run_begins_when_the_wall_clock_is_set(
    worker: Path, monkeypatch: pytest.MonkeyPatch, set_by_s: float
) -> None:
    """ffmpeg's own clock cannot be set here. So it is the recording's that is behind then, or ahead."""
    recorder = await recorder_of(worker)
    await waiting(recorder, lambda pulled: len(pulled.chunks) >= 2)
    wall_ahead_s = Clock.wall_ahead_s

    def ahead(clock: Clock) -> float:
        return wall_ahead_s(clock) + set_by_s

    monkeypatch.setattr(Clock, "wall_ahead_s", ahead)
    pulled = await waiting(recorder, lambda pulled: [chunk.part for chunk in pulled.chunks[-5:]] == [4] * 5)
    before, after = ([chunk for chunk in pulled.chunks if chunk.part == part] for part in (3, 4))
    assert pulled.chunks == before + after
    assert [chunk.seq for chunk in pulled.chunks] == list(range(7, 7 + len(pulled.chunks)))
    assert pulled.stopped == {"audio": ""}
    assert before[-1].at - 1 < after[-1].part_at + set_by_s < before[0].at + PATIENCE_S
    assert all(0 < chunk.at - chunk.part_at < PATIENCE_S for chunk in pulled.chunks)
    assert decoded([chunk.content for chunk in after])
    last = next((worker / "capture" / "chunks").glob(f"{before[-1].seq:09d}.*"))
    os.utime(last, (0, before[-1].at + 3600))  # as of what is written between the moment it was set and the next look
    again = await recorder.pull(7, 60, None)
    assert before[-1].at <= again.chunks[len(before) - 1].at < before[-1].at + PATIENCE_S


async def test_an_ffmpeg_that_ends_at_once_is_told_and_not_taken_for_a_recorder(
    worker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(display, "MONITOR", "nothing of that name")
    recorder = await recorder_of(worker)
    with pytest.raises(OSError, match=r"ffmpeg ended at once: nothing of that name: "):
        await waiting(recorder, lambda pulled: pulled.chunks)
    assert await DisplayWay(worker).find(None) is None
    await recorder.close()
    assert not (worker / "capture").exists()


@pytest.mark.long
async def test_an_agent_has_workers_of_both_kinds_and_the_next_one_knows_which_is_which(
    fork_server: ForkServer, redis_server: str, prefix: str, tmp_path: Path
) -> None:
    async with machine_with(fork_server, redis_server, prefix, tmp_path) as machine:
        machine.environment["POOLMGR_CAPTURE__STORE"] = str(tmp_path / "store")
        machine.environment["POOLMGR_CAPTURE__VIDEO"] = "display"
        agent = await machine.agent()
        await agent.order(Warm("plain"), Warm("shown", display=True))
        await agent.seen(Heartbeat, lambda beat: beat.display_room is not None)
        kinds = {"plain": WorkerReport(WorkerState.IDLE), "shown": WorkerReport(WorkerState.IDLE, display=True)}
        for worker_id, report in kinds.items():
            await agent.holds(worker_id, report)
        workers = machine.state_dir / "workers"
        assert [program_of(workers / worker_id, "Xvfb") is None for worker_id in kinds] == [True, False]
        left = agent.leaders()
        await agent.kill()
        machine.environment["POOLMGR_CAPTURE__VIDEO"] = "tab"
        successor = await machine.agent()
        for worker_id, report in kinds.items():
            await successor.holds(worker_id, report)
        assert successor.leaders() == left
        await successor.order(Warm("asked", display=True))
        await successor.holds("asked", WorkerReport(WorkerState.IDLE))
        await successor.seen(Heartbeat, lambda beat: "asked" in beat.workers and beat.display_room is None)


async def test_one_that_begins_paused_records_nothing_until_it_is_resumed(worker: Path) -> None:
    recorder = await recorder_of(worker, paused=True)
    assert (await recorder.pull(7, 60, None)).stopped == {"audio": PAUSED}
    assert program_of(worker, "ffmpeg") is None
    await recorder.resume("refused")
    resumed = await waiting(recorder, lambda pulled: pulled.chunks)
    assert (resumed.chunks[0].part, resumed.chunks[0].cause) == (3, "refused")
    await recorder.pause()
    await recorder.pause()
    kept = {path.name: path.stat().st_mode & 0o777 for path in (worker / "capture").rglob("*") if path.is_file()}
    assert set(kept) >= {"state.json", "run.json", "fetched", "script", "pid", "exit", "complaint"}
    assert any("audio" in name for name in kept)
    assert set(kept.values()) == {0o600}, "also if the agent's own umask lets others read"
    assert (await recorder.pull(7, 60, None)).stopped == {"audio": PAUSED}


async def test_a_worker_that_was_started_without_a_display_is_recorded_by_the_tab_and_the_story_says_why(
    recorded: Recorded, worker: Path
) -> None:
    def way_of(worker_id: str, *kinds: Kind) -> tuple[str, str]:
        join = Join(worker_id, "b1", 1, "room", "", "Bot")
        way, *others = recorded.recordings._ways_of(join, kinds or ("audio", "video"))  # pyright: ignore[reportPrivateUsage]
        of_others = [(other.name, other.label) for other in others]
        if way.name == "display":
            assert of_others == [("recorder_tab", "by a tab that captures the meeting's")], "in case the display fails"
        else:
            assert of_others == []
        return way.name, way.label

    worker.parent.joinpath("state").mkdir()
    worker.parent.joinpath("state/workers").symlink_to(worker.parent)
    assert way_of("w1")[0] == "display"
    assert way_of("w2") == (
        "recorder_tab",
        "by a tab that captures the meeting's, because its worker has no display",
    )
    assert way_of("w2", "audio") == ("recorder_tab", "by a tab that captures the meeting's"), "as it is to be"
    await recorder_of(worker)
    recorded.settings = CaptureSettings(store=recorded.settings.store)
    recorded.anew()
    assert way_of("w1")[0] == "display", "as it was begun"
    assert way_of("w2") == ("recorder_tab", "by a tab that captures the meeting's")
