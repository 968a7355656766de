"""A bot that is recorded in a real meeting, with somebody whose left is 440 Hz and whose right is 1,000 Hz."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Literal

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from common.config.settings import CaptureSettings, WorkerSettings
from common.runtime.recordings.store import Store
from common.wire import manifest
from common.wire.manifest import FINAL, Kind, Manifest
from common.wire.messages import BotMoved, BotRecorded, BotSaw
from common.wire.vocabulary import BotState
from tests.waiting import wait_until
from tests.worker.conftest import Harness, pool_with
from worker.capture.recording import Recording
from worker.capture.recordings import Recordings
from worker.capture.storing import Storing
from worker.chromium.driver import Driver
from worker.chromium.process import find_chromium
from worker.pool.uplink import Recorders
from worker.transcript.minutes_outbox import MinutesOutbox

TONES: Final = """
  navigator.mediaDevices.getUserMedia = async () => {
    const context = new AudioContext({ sinkId: { type: "none" } }); // nobody hears it here
    const [sides, sent] = [context.createChannelMerger(2), context.createMediaStreamDestination()];
    [440, 1000].forEach((hz, side) => {
      const [tone, quieter] = [context.createOscillator(), context.createGain()];
      tone.frequency.value = hz;
      quieter.gain.value = 0.25;
      tone.connect(quieter).connect(sides, 0, side);
      tone.start();
    });
    sides.connect(sent);
    globalThis.microphone = context; // suspended, it is muted
    return sent.stream;
  };
"""


SUFFIXES: Final = (".webm", ".ivf", ".mkv")


class Recorded:
    """`reports`: what the manager hears."""

    def __init__(self, folder: Path, video: Literal["tab", "display"] = "tab", *, tracks: bool = False) -> None:
        self.settings = CaptureSettings(
            store=str(folder / "store"),
            store_timeout_s=60.0,  # a process may stand still for a while, and that is not what is tested
            video=video,
            video_size="640x360",  # a larger one takes more of the processors, and tells no more
            tracks=tracks,
        )
        self.store = Store(self.settings)
        self.folder = folder / "state" / "recordings"
        self.unattended_s = 0.0  # no gap at the end of what no agent noted to be over
        self.minutes_outbox = MinutesOutbox("vm1", folder / "state" / "minutes", self.store, lambda _: None)
        self.reports: list[BotRecorded] = []
        self.recordings = self.anew()

    def anew(self) -> Recordings:
        """As an agent that is started has them."""
        self.recordings = Recordings(
            *("vm1", self.folder, self.settings, self.store, self.reports.append),
            *(self.minutes_outbox.find_turns, self.unattended_s),
        )
        return self.recordings

    def file(self, name: str, attempt: int = 1, bot_id: str = "b1") -> Path:
        return Path(self.settings.store) / manifest.folder(bot_id, attempt) / name

    def made(self, name: str) -> Path:
        """The file that was made as `name`."""
        [path] = self.file(name).parent.glob(f"{Path(name).stem}-*{Path(name).suffix}")
        return path

    def block_store(self) -> None:
        """Nothing can be put there."""
        Path(self.settings.store).write_text("in the way of the folder")

    def take_store_away(self) -> Callable[[], None]:
        """Returns: what brings it back, as it was."""
        there = Path(self.settings.store)
        away = there.rename(there.with_name("away"))
        self.block_store()

        def bring_back() -> None:
            self.unblock_store()
            away.rename(there)

        return bring_back

    def unblock_store(self) -> None:
        Path(self.settings.store).unlink()

    @property
    def storing(self) -> Storing:
        storing = self.recordings._storing  # pyright: ignore[reportPrivateUsage]
        assert storing
        return storing

    @property
    def active(self) -> Recording:
        """The one that is under way."""
        [recording] = self.recordings._active.values()  # pyright: ignore[reportPrivateUsage]
        return recording

    @property
    def parts(self) -> int:
        """Of the sound that is recorded now."""
        return self.parts_of("audio")

    def parts_of(self, kind: Kind) -> int:
        spool = self.active.spool
        return len(spool.progress.tracks[kind].parts) if spool else 0

    @property
    def segments(self) -> list[Path]:
        return sorted(path for path in self.file("x").parent.glob("*-0*") if path.suffix in SUFFIXES)

    @property
    def packets(self) -> list[Path]:
        """Segments of tracks that are stored."""
        return sorted(self.file("x").parent.glob("packets-*"))

    @property
    def spooled(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*-0*") if path.suffix in SUFFIXES)


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path)


@asynccontextmanager
async def harness_of(
    recorded: Recorded, driver: Driver, room: str, recorders: Recorders | None = None, *, video: bool = False
) -> AsyncGenerator[Harness]:
    settings = WorkerSettings(memory_reserve_mb=0)
    async with pool_with(
        recorded.folder.parent,
        settings,
        driver,
        recorders or recorded.recordings.record,
        recorded.settings,
        recorded.recordings.equip,
    ) as harness:
        harness.meeting, harness.video = room, video
        yield harness


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def somebodys() -> AsyncGenerator[Browser]:
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        yield await playwright.chromium.launch(
            executable_path=find_chromium(""), args=[*sandbox, "--autoplay-policy=no-user-gesture-required"]
        )


@asynccontextmanager
async def somebody_in(
    browser: Browser, meeting: str, script: str = TONES, *, name: str = "Ann", camera: bool = False
) -> AsyncGenerator[Page]:
    """In the meeting, heard, and seen with a camera; both are what the script makes them."""
    page = await browser.new_page(viewport={"width": 320, "height": 240})  # nobody looks at it
    await page.add_init_script(script)
    await page.goto(f"{meeting}?name={name}")
    await page.check("#microphone")
    await page.set_checked("#camera", camera)
    await page.click("#join")
    await page.locator("#in-meeting").wait_for(state="visible")
    yield page
    await page.close()


@pytest_asyncio.fixture(loop_scope="session")
async def somebody(somebodys: Browser, room: str) -> AsyncGenerator[Page]:
    async with somebody_in(somebodys, room) as page:
        yield page


async def go_in(harness: Harness) -> None:
    """The bot is in its meeting."""
    await harness.warm()
    harness.pool.begin(harness.join())
    await wait_until(lambda: any(move.state is BotState.IN_MEETING for move in harness.seen(BotMoved)))


async def finished(recorded: Recorded) -> Manifest:
    """What an agent makes of what is left."""
    async with asyncio.TaskGroup() as tasks:
        finishing = tasks.create_task(recorded.recordings.finish(lambda: set()), name="finish")
        await wait_until(lambda: any(report.finished for report in recorded.reports))
        await recorded.recordings.idle.wait()
        finishing.cancel()
    began, done = recorded.reports
    made = manifest.decode(recorded.file(FINAL).read_bytes())
    kinds = tuple(kind for kind in made.kinds if kind != "tracks")
    assert (began.finished, began.bot_id, began.attempt, began.kinds) == (False, "b1", 1, kinds)
    assert (done.audio_s, done.gaps) == (made.audio.duration_s if made.audio else 0.0, len(made.gaps))
    assert done.video_s == (made.video.duration_s if made.video else 0.0)
    assert list(recorded.folder.iterdir()) == []
    return made


def story(harness: Harness) -> list[str]:
    return [saw.did for saw in harness.seen(BotSaw) if saw.did]
