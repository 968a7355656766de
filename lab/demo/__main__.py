"""`./dev demo`: shows the main job on real parts, as it happens.

With --once it is also a check: it ends by itself, and with 0 only if every bot was in the meeting and received the
other participant's audio, one of them recorded it, the words that were spoken are in its transcript, the pool was back
at its target, and nothing was left running, or on disk but that recording.
"""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from datetime import datetime
from math import inf
from typing import Any

import aiohttp
import click
import uvloop
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page, async_playwright
from redis.exceptions import RedisError
from rich.console import Console
from rich.table import Table

from common.config.settings import RedisSettings
from common.jobs.record import Record, epoch
from common.runtime.cli.text import count
from common.runtime.recordings import manifests
from common.runtime.recordings.store import Store
from common.runtime.redis.client import connect
from common.runtime.waiting import pause, stop_on_signals
from common.wire import manifest
from common.wire.minutes import TRANSCRIPT
from lab.demo.stage import DemoStage
from lab.demo.words import MOST_WRONG, wrong
from lab.parts import StageError
from lab.speech import voice
from poolmgr.store.reading.views import Views, VmView
from poolmgr.store.transcriptions import OF_JOB, PROCESSED, Transcriptions
from worker.chromium.process import BrowserError

MIN_IDLE = 2
JOBS = 4
_OVER_HTTP = 3  # the last one; the others come by LPUSH
_DEADLINE_S = 90.0
_WORDS_S = 600.0  # at the lowest priority, so that they wait for whatever else the machine does
_NAMES = ("Notes for Ana", "Notes for Ben", "Notes for Cleo", "Notes for Dina")
_PERSON = "Ada"
_TRANSCRIPT = {"transcript": {"provider": {"whisper": {"language": "en"}}}}
_QUIET_DBFS = -60.0
_SHOWN = 4
_REQUEST = aiohttp.ClientTimeout(total=10.0)


class Failed(Exception):  # noqa: N818 - it is the demo's verdict, not a fault of the program
    """A promise was not kept; the message says which one."""


class Stopped(Exception):  # noqa: N818 - nothing is wrong
    """The user stopped it."""


class Show:
    """Prints what happens, with the time since the first LPUSH (before it: since the start)."""

    def __init__(self, stage: DemoStage, views: Views) -> None:
        self._stage = stage
        self._views = views
        self._console = Console(highlight=False, width=max(100, Console().width))
        self._zero = time.time()
        self._names: dict[str, str] = {}
        self._pool = ""
        self.pushed_at: dict[str, float] = {}

    def say(self, who: str, what: str, style: str = "", at: float | None = None) -> None:
        elapsed = (at or time.time()) - self._zero
        self._console.print(f"{elapsed:8.3f} s  {who[:15]:<16}", end="", style="dim", markup=False)
        self._console.print(what, style=style, markup=False, soft_wrap=True)  # links and commands stay whole

    def headline(self, text: str) -> None:
        self._console.print(f"\n{text}", style="bold", markup=False)

    async def until(self, what: str, done: Callable[[], bool], within_s: float = _DEADLINE_S) -> None:
        """Wait until `done`. Raises: Failed at the deadline, StageError when a part died."""
        deadline = time.monotonic() + within_s
        while not done():
            self._stage.parts.check()
            if time.monotonic() > deadline:
                raise Failed(f"{what}: not within {within_s:.0f} s")
            await asyncio.sleep(0.02)

    async def tell_bots(self, after: str) -> None:
        """Print a line per status change, until it is cancelled."""
        async for _, change in self._views.follow(after):
            bot_id = change["bot_id"]
            words = change["state"].replace("_", " ")
            if change["state"] == "assigned":
                words += f" to {change['worker_id']}"
            if change["reason"]:
                words += f" ({change['reason']})"
            style = {"in_meeting": "bold green", "stopped": "yellow"}.get(change["state"], "")
            self.say(self._names.get(bot_id, bot_id), words, style, datetime.fromisoformat(change["at"]).timestamp())

    async def tell_pool(self, on_change: Callable[[VmView], None]) -> None:
        """Print a line whenever the pool has changed, until it is cancelled."""
        while True:
            for vm in await self._views.fleet():
                on_change(vm)
                words = ", ".join(f"{count} {state}" for state, count in vm.workers.items() if count)
                if words != self._pool:
                    self._pool = words
                    self.say(f"pool {vm.vm_id}", words or "empty", "cyan")
            await asyncio.sleep(0.05)

    async def push(self, number: int) -> str:
        bot_id = f"demo-{number + 1}"
        self._names[bot_id] = _NAMES[number]
        job: dict[str, Any] = {"meeting_link": self._stage.meeting_link, "bot_name": _NAMES[number], "bot_id": bot_id}
        job["audio_required"] = number == 0  # the others would only take time
        if number == 0:
            job["recording_config"] = _TRANSCRIPT
            self._zero = time.time()
        self.pushed_at[bot_id] = time.time()
        if number < _OVER_HTTP:
            self.say(_NAMES[number], "LPUSH", at=self.pushed_at[bot_id])
            await self._stage.lpush(json.dumps(job))
        else:
            self.say(_NAMES[number], "POST /api/v1/bots/create_bot", at=self.pushed_at[bot_id])
            await self._post({**job, "callback_url": f"{self._stage.receiver}/webhooks"})
        return bot_id

    async def _post(self, job: dict[str, Any]) -> None:
        headers = {"Authorization": f"Token {self._stage.token}"}
        async with (
            aiohttp.ClientSession(timeout=_REQUEST) as session,
            session.post(f"{self._stage.api}/bots/create_bot", json=job, headers=headers) as response,
        ):
            if response.status != 201:
                raise Failed(f"create_bot was answered with {response.status}: {await response.text()}")

    async def tell_receiver(self, bot_id: str) -> None:
        """Print which webhooks of the bot the receiver got. Raises: Failed when one is missing at the deadline."""
        bot: dict[str, Any] = {}

        async def look() -> None:
            nonlocal bot
            async with aiohttp.ClientSession(timeout=_REQUEST) as session:
                while True:
                    async with session.get(f"{self._stage.receiver}/bots/{bot_id}") as response:
                        bot = await response.json()
                    await asyncio.sleep(0.05)

        await while_looking(look(), self.until("the receiver told of the end", lambda: bot.get("done") == 1))
        words = f"{bot['status']}, {bot['reason']}; every signature was checked"
        self.say("webhooks", f"the receiver was told of {self._names[bot_id]}: {words}", "magenta")

    def print_times(self, records: dict[str, Record]) -> None:
        table = Table(
            title="Milliseconds since its LPUSH (redis-cli's own start included) or POST", title_justify="left"
        )
        columns = ("assigned_at", "first_request_at", "inmeeting_at")
        for column in ("bot", "assigned", "asks for the page", "in the meeting", "audio packets"):
            table.add_column(column, justify="left" if column == "bot" else "right")
        for bot_id, record in records.items():
            zero = self.pushed_at[bot_id]
            times = [(epoch(getattr(record, name)) - zero) * 1000 for name in columns]
            table.add_row(self._names[bot_id], *(f"{ms:.0f}" for ms in times), str(record.audio_packets_received))
        self._console.print(table)

    async def print_recording(self, stage: DemoStage, bot_id: str) -> float:
        """Print how loud both channels of the finished file are, and where it is. Returns how long it lasts, in
        seconds. Raises: Failed when one is silent.
        """
        store = Store(stage.capture)
        try:
            made = await manifests.find(store, bot_id)
        finally:
            store.close()
        sound = made.audio if made else None
        if made is None or sound is None:
            raise Failed(f"{self._names[bot_id]} recorded nothing")
        sides = [-inf if side is None else side for side in (sound.left_dbfs, sound.right_dbfs)]
        if min(sides) <= _QUIET_DBFS:
            raise Failed(f"{self._names[bot_id]} recorded silence: {sides} dBFS")
        left, right = sides
        levels = f"left {left:.1f} dBFS, right {right:.1f} dBFS, measured on the finished file"
        self.say("recording", f"{sound.duration_s:.1f} s, {levels}, {count(len(made.gaps), 'gap')}", "magenta")
        self.say("it lies in", str(store.path(f"{manifest.folder(bot_id, made.attempt)}/{sound.path}")), "magenta")
        return sound.duration_s

    async def print_words(self, stage: DemoStage, record: Record) -> None:
        """Print who said what in the recording, and how much of it is right. Raises: Failed when too little is."""
        store = Store(stage.capture)
        try:
            made = await manifests.find_minutes(store, record.bot_id, TRANSCRIPT)
        finally:
            store.close()
        said = made.utterances if made else []
        for one in said[:_SHOWN]:
            self.say(one.speaker or "somebody", f'"{one.text}"', "magenta")
        if len(said) > _SHOWN:
            self.say("", f"and {count(len(said) - _SHOWN, 'more utterance')}", "magenta")
        of, faults = len(voice.words(voice.SENTENCE)), wrong(said, _PERSON)
        understood = f"{of - faults} of the {of} words that {_PERSON} repeats"
        if faults > MOST_WRONG:
            raise Failed(f"only {understood} are understood")
        took_s = epoch(record.transcribed_at) - epoch(record.files_at)
        self.say("understood", f"{understood}, {took_s:.1f} s after the recording was there", "magenta")


async def perform(stage: DemoStage, *, once: bool) -> None:
    """Run the whole demo. Raises, in a group: Failed, Stopped, StageError, and errors of the browser and of Redis."""
    stop = stop_on_signals()
    redis = connect(RedisSettings(url=stage.parts.redis_url))
    views, transcriptions = Views(redis, stage.parts.keys), Transcriptions(redis, stage.parts.keys)
    show = Show(stage, views)
    idle = 0

    def note_idle(vm: VmView) -> None:
        nonlocal idle
        idle = vm.workers["idle"]

    try:
        async with asyncio.TaskGroup() as group, async_playwright() as playwright:
            watching = group.create_task(_raise_when(stop), name="Ctrl-C")
            show.headline("1. A private Redis, the manager, one agent, and a meeting with one person in it")
            await stage.start()
            show.say("look on", f"{stage.page}  (token: {stage.token})")
            telling = [
                group.create_task(show.tell_bots("0-0"), name="bots"),
                group.create_task(show.tell_pool(note_idle), name="pool"),
            ]
            await show.until(f"{MIN_IDLE} workers warm", lambda: idle == MIN_IDLE)
            ada = await stage.bring_in_person(playwright, _PERSON)
            show.say(_PERSON, "is in the meeting with microphone and camera, lets everybody in")
            show.say(_PERSON, f'repeats: "{voice.SENTENCE}"')
            show.headline(
                f"2. {_OVER_HTTP} jobs by redis-cli LPUSH, one over HTTP; {MIN_IDLE} browsers are warm, the others wait"
            )
            bot_ids = [await show.push(number) for number in range(JOBS)]
            records = await _all_are(
                views, bot_ids, show, "in the meeting, receiving audio", lambda bot: bot.audio_packets_received > 0
            )
            recording = await _all_are(
                views, bot_ids[:1], show, "recording", lambda bot: bot.audio_status == "recording"
            )
            recorded_s = 2 * ada.repeats_s  # whenever it begins, one sentence is whole
            show.say(_NAMES[0], f"records what it hears, for {recorded_s:.0f} s at least")
            until = epoch(recording[bot_ids[0]].recording_at) + recorded_s
            await show.until("a whole sentence", lambda: time.time() > until)
            await show.until(f"the pool back at {MIN_IDLE} idle", lambda: idle == MIN_IDLE)
            show.print_times(records)
            if not once:
                watching.cancel()
                await _let_the_user_look(stage, show, stop)
                stop.clear()
                watching = group.create_task(_raise_when(stop), name="Ctrl-C, once more")
            show.headline(f"3. {_PERSON} ends the meeting for everyone; the pool comes back")
            await _end_meeting(ada.page)
            await _all_have_left(views, bot_ids, show)
            await ada.browser.close()
            lasts_s = await show.print_recording(stage, bot_ids[0])
            await show.tell_receiver(bot_ids[_OVER_HTTP])
            show.say("words", "faster-whisper makes them on this machine, at the lowest priority", "magenta")
            record = await _has_words(views, transcriptions, bot_ids[0], show, within_s=_WORDS_S + lasts_s)
            await show.print_words(stage, record)
            await show.until(f"the pool back at {MIN_IDLE} idle", lambda: idle == MIN_IDLE)
            for task in (watching, *telling):
                task.cancel()
    finally:
        await redis.aclose()


async def _raise_when(stop: asyncio.Event) -> None:
    await stop.wait()
    raise Stopped


async def _all_are(
    views: Views, bot_ids: list[str], show: Show, what: str, is_so: Callable[[Record], bool]
) -> dict[str, Record]:
    """Each bot's record, once all are in the meeting and `is_so` is true for each. Raises: Failed when one has
    ended.
    """
    records: dict[str, Record] = {}

    async def look() -> None:
        while True:
            for bot_id in bot_ids:
                record = await views.bot(bot_id)
                if record and record.is_over:
                    raise Failed(f"{bot_id} ended with {record.status_reason}: {record.reason_detail}")
                if record and record.state == "in_meeting" and is_so(record):
                    records[bot_id] = record
            await asyncio.sleep(0.05)

    await while_looking(look(), show.until(f"all {what}", lambda: len(records) == len(bot_ids)))
    return {bot_id: records[bot_id] for bot_id in bot_ids}


async def _all_have_left(views: Views, bot_ids: list[str], show: Show) -> None:
    """Wait until all bots have ended, and the recordings' files are made. Raises: Failed."""
    ended: dict[str, Record] = {}

    async def look() -> None:
        while True:
            for bot_id in bot_ids:
                record = await views.bot(bot_id)
                if record and record.is_over and record.manifest_status != "recording":
                    ended[bot_id] = record
            await asyncio.sleep(0.05)

    await while_looking(look(), show.until("every bot has left", lambda: len(ended) == len(bot_ids)))
    if set(reasons := [record.status_reason for record in ended.values()]) != {"meeting_ended"}:
        raise Failed(f"the host ended the meeting, but the records say {reasons}")


async def _has_words(
    views: Views, transcriptions: Transcriptions, bot_id: str, show: Show, *, within_s: float
) -> Record:
    """The bot's record, once the transcript of its job is made. Raises: Failed when that fails, or takes too long."""
    record: Record | None = None

    async def look() -> None:
        nonlocal record
        while True:
            made = (await transcriptions.all(bot_id)).get(OF_JOB)
            if made and made.status == PROCESSED:
                record = await views.bot(bot_id)
            elif made and made.why:
                raise Failed(f"no words were made of the recording of {bot_id}: {made.why}")
            await asyncio.sleep(0.05)

    await while_looking(look(), show.until("words of the recording", lambda: record is not None, within_s))
    assert record
    return record


async def while_looking(look: Coroutine[Any, Any, None], wait: Coroutine[Any, Any, None]) -> None:
    async with asyncio.TaskGroup() as group:
        looking = group.create_task(look, name="look")
        await group.create_task(wait, name="wait")
        looking.cancel()


async def _let_the_user_look(stage: DemoStage, show: Show, stop: asyncio.Event) -> None:
    show.headline("Join them. Ctrl-C ends the demo")
    show.say("as a guest", stage.meeting_link)
    show.say("as the host", stage.host_link)
    show.say("the page", f"{stage.page}  (token: {stage.token})")
    show.say("metrics", stage.parts.metrics)
    show.say("the API", f"{stage.api}/docs  (the same token)")
    show.say("command line", f"./dev run poolmgr bots --config {stage.parts.config}")
    show.say("one more bot", f"./dev run poolmgr submit {stage.meeting_link} --wait --config {stage.parts.config}")
    while not await pause(stop, 0.5):
        stage.parts.check()


async def _end_meeting(person: Page) -> None:
    await person.locator("#end-for-all").click(timeout=10_000)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--once", is_flag=True, help="End by itself; exit 0 only if every promise was seen to be kept.")
def main(once: bool) -> None:
    """Show the main job: warm browsers, jobs by redis-cli LPUSH and over HTTP, a real WebRTC meeting, its recording,
    the words of it, webhooks.
    """
    if without := voice.missing():
        raise click.ClickException(f"there is no {without}; ./dev setup installs it")
    stage = DemoStage(min_idle=MIN_IDLE, max_workers=MIN_IDLE + JOBS)
    faults: list[str] = []
    stopped = False
    try:
        uvloop.run(perform(stage, once=once))
    except* (Stopped, KeyboardInterrupt):
        stopped = True
    except* (Failed, StageError, BrowserError, PlaywrightError, RedisError) as group:
        faults += [str(error) for error in _leaves(group)]
    finally:
        # it takes seconds, and stopping halfway would leave browsers running
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, signal.SIG_IGN)
        click.secho("\n4. SIGTERM to all; is anything left?", bold=True)
        if stopped:
            faults.clear()  # errors that the interruption caused
        faults += stage.stop(interrupted=stopped or bool(faults))
        faults += [f"left behind: {what}" for what in stage.parts.left_behind()]
        if faults:
            click.echo(f"   logs are kept in {stage.parts.folder}")
        else:
            stage.remove()
        if faults or stopped:
            stage.remove_recording()
    if faults:
        for fault in dict.fromkeys(faults):
            click.secho(f"   {fault}", fg="red")
        sys.exit(1)
    if stopped:
        click.echo("   nothing. Stopped before the end, so nothing was shown to hold.")
        sys.exit(130)
    click.secho(
        f"   nothing but the recording. All {JOBS} bots were in the meeting, received {_PERSON}'s audio, one"
        f" recorded it, her words were understood, the pool came back to {MIN_IDLE}, and the receiver of webhooks was"
        " told.",
        fg="green",
    )


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]  # pyright: ignore[reportUnknownArgumentType]
    return found


if __name__ == "__main__":
    main()
