"""`./dev watch`: a demo that keeps running, with Prometheus and, where it is installed, Grafana, with all rules and
dashboards loaded.

With --once it is also a check: it ends by itself, and with 0 only if every target was up, every rule was evaluated,
every panel of every dashboard had data, and nothing was left running. With --pictures it draws the dashboards.
"""

import asyncio
import signal
import sys
import time
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp
import click
import uvloop
from redis.exceptions import RedisError

from common.runtime.waiting import pause, stop_on_signals
from lab.demo.stage import DemoStage
from lab.parts import StageError
from lab.parts.host import hosting
from lab.parts.ports import free_ports
from lab.parts.stage import ROOT
from lab.watch import dashboards, grafana, pictures, prometheus
from lab.watch.prometheus import Prometheus
from lab.watch.traffic import Traffic

PICTURES: Final[Path] = ROOT / "docs" / "pictures"
SCRAPE_S: Final = 2
WITHIN_S: Final = 180.0
_DRAWN_S: Final = 240.0
_POINTS: Final = 80
_LOOK_S: Final = 1.0
_REQUEST: Final = aiohttp.ClientTimeout(total=10.0)


class Failed(Exception):  # noqa: N818 - it is the verdict, not a fault of the program
    """Something does not work as promised; the message says what."""


class Stopped(Exception):  # noqa: N818 - nothing is wrong
    """The user stopped it."""


class Seen(NamedTuple):
    """What Prometheus says about itself. `targets`, `rules`: what is wrong with each, or empty. `empty`: panels without
    data.
    """

    targets: Mapping[str, str]
    rules: Mapping[str, str]
    panels: int
    empty: list[str]

    @property
    def faults(self) -> list[str]:
        targets = [f"target {name}: {fault}" for name, fault in self.targets.items() if fault]
        rules = [f"rule {name}: {fault}" for name, fault in self.rules.items() if fault]
        return [*targets, *rules, *(f"no data: {panel}" for panel in self.empty)]


async def look(there: Prometheus) -> Seen:
    """Ask for all targets, rules and panels once. Raises: prometheus.NotUnderstoodError."""
    titles: list[str] = []
    empty: list[str] = []
    for name, title, queries in panels():
        titles.append(title)
        if not [query for query, _ in queries if await there.ask(query)]:
            empty.append(f"{title} ({name})")
    return Seen(await there.targets(), await there.rules(), len(titles), empty)


def panels() -> list[tuple[str, str, list[tuple[str, str]]]]:
    """(dashboard, title, [(query, legend)]) of every panel."""
    code = dashboards.load()
    return [
        (name, panel.title, [(code.filled(query, variables), legend) for query, legend in panel.queries])
        for name, (_, listed, variables) in code.DASHBOARDS.items()
        for panel in listed
    ]


async def draw(there: Prometheus, name: str, says: str, start: float, end: float) -> str:
    """A dashboard as an SVG, with the data from `start` to `end` (epoch seconds)."""
    title, listed, variables = dashboards.load().DASHBOARDS[name]
    step_s = max(1.0, (end - start) / _POINTS)
    shown: list[pictures.Shown] = []
    for panel in listed:
        series: dict[str, list[tuple[float, float]]] = {}
        for query, legend in panel.queries:
            answer = await there.over(dashboards.load().filled(query, variables), start, end, step_s)
            series |= pictures.named(legend, answer)
        shown.append(pictures.Shown(panel.title, panel.unit, panel.kind, series))
    return pictures.draw(title, says, shown, start, end)


class Watch:
    """Runs the demo, with Prometheus and Grafana."""

    def __init__(self) -> None:
        self.stage = DemoStage(min_idle=2, max_workers=6, watched=True)
        self._prometheus_port, self._grafana_port = free_ports(2)
        self._base = f"http://127.0.0.1:{self._prometheus_port}"
        self._grafana = grafana.find_grafana()

    async def perform(self, *, once: bool, into: Path | None, for_s: float) -> None:
        """Run it. Raises, in a group: Failed, Stopped, StageError, and errors of Redis and HTTP."""
        stop = stop_on_signals()
        stage = self.stage
        async with aiohttp.ClientSession(timeout=_REQUEST) as session, asyncio.TaskGroup() as group:
            watching = group.create_task(_raise_when(stop), name="Ctrl-C")
            say("starting Redis, the manager, one agent, a meeting with its host, a receiver of webhooks, Prometheus")
            await stage.start()
            there = await self._start(session)
            self._tell()
            async with hosting(stage.meeting_link, stage.host_key, "Ada") as host:
                await host.say("auto_admit", on=True)
                began = time.time()
                traffic = group.create_task(Traffic(stage, session).run(), name="bots")
                checking = group.create_task(self._check(), name="parts")
                if once or into:
                    await self._until_all_is_there(there, WITHIN_S)
                if into:
                    await self._draw(there, into, began, for_s)
                elif not once:
                    await stop.wait()
                for task in (traffic, checking, watching):
                    task.cancel()

    async def _start(self, session: aiohttp.ClientSession) -> Prometheus:
        """Start Prometheus, and Grafana where it is installed. Raises: StageError."""
        parts = self.stage.parts
        folder = parts.folder / "prometheus"
        folder.mkdir()
        targets = {
            "poolmgr": parts.metrics.removeprefix("http://").removesuffix("/metrics"),
            "poolmgr-worker": self.stage.agent_metrics,
        }
        (folder / "prometheus.yml").write_text(prometheus.configuration(targets, SCRAPE_S))
        parts.start("prometheus", *prometheus.command(prometheus.find_prometheus(), folder, self._prometheus_port))
        there = Prometheus(self._base, session)
        await parts.until("Prometheus is ready", there.is_ready, 30.0)
        if self._grafana:
            command, environment = grafana.provision(
                self._grafana, parts.folder / "grafana", self._grafana_port, self._base
            )
            parts.start("grafana", *command, listens=False, checkout=ROOT, **environment)
            await parts.port_opens("grafana", self._grafana_port)
        return there

    def _tell(self) -> None:
        stage = self.stage
        say(f"the page        {stage.page}  (token: {stage.token})")
        say(f"Prometheus      {self._base}/graph, its alerts {self._base}/alerts")
        if self._grafana:
            say(f"Grafana         http://127.0.0.1:{self._grafana_port}/dashboards")
        else:
            say("Grafana         is not installed here; ./dev watch --pictures draws the same dashboards")
        say(f"metrics         {stage.parts.metrics} and http://{stage.agent_metrics}/metrics")
        say(f"command line    ./dev run poolmgr top --config {stage.parts.config}")
        say("bots come and go; Ctrl-C ends all of it")

    async def _check(self) -> None:
        while True:
            self.stage.parts.check()
            await asyncio.sleep(_LOOK_S)

    async def _until_all_is_there(self, there: Prometheus, within_s: float) -> None:
        until = time.monotonic() + within_s
        while (seen := await look(there)).faults:
            if time.monotonic() > until:
                raise Failed(f"not within {within_s:.0f} s: {'; '.join(seen.faults)}")
            await asyncio.sleep(_LOOK_S)
        say(f"{len(seen.targets)} of {len(seen.targets)} targets are up: {', '.join(seen.targets)}")
        say(f"{len(seen.rules)} of {len(seen.rules)} rules were evaluated")
        say(f"{seen.panels} of {seen.panels} panels have data: {', '.join(dashboards.load().DASHBOARDS)}")

    async def _draw(self, there: Prometheus, into: Path, began: float, for_s: float) -> None:
        await pause(asyncio.Event(), max(0.0, began + for_s - time.time()))
        now = time.time()
        day = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
        says = f"./dev watch --pictures, {day}: {now - began:.0f} s of one VM on one machine, a bot every few seconds"
        for name in dashboards.load().DASHBOARDS:
            (into / f"{name}.svg").write_text(await draw(there, name, says, began, now))
            say(f"drawn           {into / name}.svg")

    def stop(self, *, interrupted: bool) -> list[str]:
        """End all parts in order. Returns what did not end properly, or was left behind."""
        parts = self.stage.parts
        faults: list[str] = []
        for name in filter(parts.has, ("grafana", "prometheus")):
            try:
                code = parts.end(name)
                if code not in (0, -signal.SIGTERM):
                    faults.append(parts.ended(name, code))
            except StageError as error:
                faults.append(str(error))
        faults += self.stage.stop(interrupted=interrupted)
        return [*faults, *(f"left behind: {what}" for what in parts.left_behind())]


async def _raise_when(stop: asyncio.Event) -> None:
    await stop.wait()
    raise Stopped


def say(text: str) -> None:
    click.echo(f"   {text}")


def carried_out(work: Coroutine[Any, Any, None]) -> tuple[list[str], bool]:
    """Run it. Returns its faults, and whether it was stopped."""
    faults: list[str] = []
    stopped = False
    try:
        uvloop.run(work)
    except* (Stopped, KeyboardInterrupt):
        stopped = True
    except* (Failed, StageError, RedisError, aiohttp.ClientError, TimeoutError) as group:
        faults += [str(error) or type(error).__name__ for error in _leaves(group)]
    return faults, stopped


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]  # pyright: ignore[reportUnknownArgumentType]
    return found


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--once", is_flag=True, help="End by itself; exit 0 only if all targets, rules and panels were there.")
@click.option(
    "--pictures",
    "into",
    is_flag=False,
    flag_value=str(PICTURES),
    type=click.Path(file_okay=False, path_type=Path),
    metavar="[FOLDER]",
    help="Draw the dashboards as SVG into FOLDER (docs/pictures) after --for, and end.",
)
@click.option("--for", "for_s", type=click.FloatRange(min=10), default=_DRAWN_S, show_default=True, metavar="SECONDS")
def main(once: bool, into: Path | None, for_s: float) -> None:
    """Prometheus, and Grafana where it is installed, beside a demo that goes on: all is loaded, nothing to set up."""
    if into:
        into.mkdir(parents=True, exist_ok=True)
    watch = Watch()
    faults, stopped = [], False
    try:
        faults, stopped = carried_out(watch.perform(once=once, into=into, for_s=for_s))
    finally:
        for signum in (signal.SIGINT, signal.SIGTERM):  # stopping halfway would leave browsers running
            signal.signal(signum, signal.SIG_IGN)
        if stopped:
            faults.clear()
        faults += watch.stop(interrupted=stopped or bool(faults))
        if faults:
            say(f"logs are kept in {watch.stage.parts.folder}")
        else:
            watch.stage.remove()
    for fault in dict.fromkeys(faults):
        click.secho(f"   {fault}", fg="red")
    if faults:
        sys.exit(1)
    say("ended; nothing was left")
    if stopped and (once or into):
        sys.exit(130)


if __name__ == "__main__":
    main()
