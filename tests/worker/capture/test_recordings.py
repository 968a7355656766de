"""A meeting with known tones, recorded: what the finished file sounds like, whatever is killed or away meanwhile."""

import asyncio
import hashlib
import os
import signal
import time
from collections.abc import Callable

import pytest

from common.wire import manifest
from common.wire.manifest import AUDIO, FINAL, Manifest
from common.wire.messages import BotEnded
from common.wire.vocabulary import Reason
from tests.waiting import wait_until
from tests.worker.capture.conftest import Recorded, go_in, harness_of, told
from tests.worker.capture.hearing import listen
from worker.chromium.driver import Driver

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def finished(recorded: Recorded) -> Manifest:
    """What an agent makes of what is left."""
    async with asyncio.TaskGroup() as tasks:
        finishing = tasks.create_task(recorded.recordings.finish(lambda: set()), name="finish")
        await wait_until(lambda: recorded.done)
        await recorded.recordings.idle.wait()
        finishing.cancel()
    [made] = recorded.done
    assert made == manifest.decode(recorded.file(FINAL).read_bytes())
    assert list(recorded.folder.iterdir()) == []
    return made


def assert_true_to(made: Manifest, recorded: Recorded) -> None:
    """The manifest is right about everything that it names."""
    for segment in made.segments:
        content = recorded.file(segment.path).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (segment.bytes, segment.sha256)
    assert made.audio
    content = recorded.file(AUDIO).read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (made.audio.bytes, made.audio.sha256)


async def test_both_sides_of_a_meeting_are_in_one_file_also_when_the_store_was_away(
    recorded: Recorded, driver: Driver, room: str, somebody: Callable[[str], object]
) -> None:
    recorded.block_store()
    async with harness_of(recorded, driver, room) as harness:
        await go_in(harness)
        began = time.time()
        await wait_until(lambda: any("does not take" in did for did in told(harness)))
        assert all(oct(path.stat().st_mode)[-3:] == "600" for path in recorded.spooled)
        assert recorded.recordings.spooled_bytes >= sum(path.stat().st_size for path in recorded.spooled[:1])
        recorded.unblock_store()
        await wait_until(lambda: recorded.segments)
        harness.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
        await wait_until(lambda: harness.seen(BotEnded))
        took_s = time.time() - began
        await harness.gone()
    made = await finished(recorded)
    assert_true_to(made, recorded)
    assert made.gaps == []
    assert made.audio
    heard = listen(recorded.file(AUDIO))
    assert heard.duration_s == pytest.approx(made.audio.duration_s, abs=0.1) == pytest.approx(took_s, abs=1.5)
    at = heard.best_s()
    (left, leaked), (crossed, right) = heard.tones(440, at), heard.tones(1000, at)
    assert left == pytest.approx(-12, abs=2)
    assert right == pytest.approx(-12, abs=2)
    assert max(leaked, crossed) < -45
    assert made.audio.left_dbfs is not None
    assert made.audio.loudness_lufs is not None


async def test_all_but_the_last_two_seconds_are_there_when_the_browser_is_killed(
    recorded: Recorded, driver: Driver, room: str, somebody: Callable[[str], object]
) -> None:
    async with harness_of(recorded, driver, room) as harness:
        await go_in(harness)
        await wait_until(lambda: recorded.spooled)
        await asyncio.sleep(3)
        killed_at = time.time()
        os.killpg(harness.browsers()[0], signal.SIGKILL)
        await harness.gone()
    made = await finished(recorded)
    assert_true_to(made, recorded)
    assert made.segments[-1].ended_at > killed_at - 2
    heard = listen(recorded.file(AUDIO))
    assert heard.duration_s > killed_at - made.began_at - 2


async def test_what_is_said_while_no_agent_is_there_is_not_missing(
    recorded: Recorded, driver: Driver, room: str, somebody: Callable[[str], object]
) -> None:
    async with harness_of(recorded, driver, room) as earlier:
        await go_in(earlier)
        began = time.time()
        await wait_until(lambda: recorded.spooled)
        earlier.pool.let_go()
        notes = dict(earlier.notes)
        await asyncio.sleep(4)
        recorded.anew()
        async with harness_of(recorded, driver, room) as later:
            later.pool.adopt(notes)
            await later.pool.adopted.wait()
            await wait_until(lambda: later.seen(BotEnded) or later.pool._workers["w1"].session)  # pyright: ignore[reportPrivateUsage]
            await asyncio.sleep(2)
            later.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
            await wait_until(lambda: later.seen(BotEnded))
            took_s = time.time() - began
            await later.gone()
        earlier.pool._workers.clear()  # pyright: ignore[reportPrivateUsage]  # it is dead
        earlier.pool.empty.set()
    made = await finished(recorded)
    assert_true_to(made, recorded)
    assert (len(made.parts), made.gaps) == (1, [])
    assert listen(recorded.file(AUDIO)).duration_s == pytest.approx(took_s, abs=1.5)
