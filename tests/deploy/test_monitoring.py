"""Rules and dashboards: Prometheus reads them, alerts fire and clear, and every query means something that there is."""

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
import pytest
import yaml
from aiohttp import web
from prometheus_client import start_http_server

from common.config.settings import MirrorSettings, ProbeSettings, ProbesSettings
from common.runtime.clock import Clock
from common.runtime.loop.lag import watched
from common.wire.messages import BotSaw, Join, WorkerReport, WorkerWarm
from common.wire.vocabulary import Attribution, Reason, WorkerState
from lab.parts.ports import free_ports
from lab.parts.redis_server import RedisServer
from lab.watch.__main__ import draw, look
from lab.watch.dashboards import load
from lab.watch.prometheus import Prometheus, command, configuration
from poolmgr.api.observe import ApiMetrics
from poolmgr.observe.metrics import Metrics
from poolmgr.store.mirroring import Mirrored
from tests.api.conftest import LINK, World, world
from tests.waiting import wait_until
from worker.chromium.accounts import Health
from worker.metrics import AgentMetrics

__all__ = ["world"]

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
installed = pytest.mark.skipif(not shutil.which("promtool"), reason="Prometheus is not installed (apt: prometheus)")


dashboards = load()


def rules(file: str) -> list[dict[str, Any]]:
    document = yaml.safe_load((PROMETHEUS / file).read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def every_query() -> list[tuple[str, str]]:
    recorded = [(rule.get("record") or rule["alert"], rule["expr"]) for rule in rules("recording.yml")]
    alerts = [(rule["alert"], rule["expr"]) for rule in rules("alerts.yml")]
    return [*recorded, *alerts, *dashboards.queries()]


def test_the_dashboards_are_those_of_the_code() -> None:
    for name in dashboards.DASHBOARDS:
        made = dashboards.document(name)
        assert (DEPLOY / "grafana" / f"{name}.json").read_text() == made, "run: python deploy/grafana/dashboards.py"
        ids = [panel["id"] for panel in json.loads(made)["panels"]]
        assert len(ids) == len(set(ids))


def test_every_query_asks_for_what_there_is() -> None:
    registry = Metrics(Clock()).registry
    ApiMetrics(registry)
    there: set[str] = {rule["record"] for rule in rules("recording.yml")}
    for family in [*registry.collect(), *AgentMetrics().registry.collect()]:
        endings = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}.get(family.type, [""])
        there |= {family.name + ending for ending in endings}
    for name, query in every_query():
        asked = set(re.findall(r"\bpoolmgr[a-z_]*(?::[a-z_0-9]+)*", query))
        assert asked
        assert asked <= there, name


def test_every_alert_has_a_runbook_that_is_there() -> None:
    operations = (DEPLOY.parent / "docs" / "operations.md").read_text()
    titles = re.findall(r"^#+ (.*)$", operations, re.MULTILINE)
    headings = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    for rule in rules("alerts.yml"):
        page, _, heading = rule["annotations"]["runbook"].partition("#")
        assert page == "docs/operations.md"
        assert heading in headings, rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket")


def test_what_counts_as_our_doing_is_what_the_code_says() -> None:
    [expression] = [rule["expr"] for rule in rules("recording.yml") if rule["record"] == "poolmgr:ends_of_ours:rate10m"]
    matched = re.search(r'reason=~"([^"]+)"', expression)
    assert matched
    counted = {reason for reason in Reason if re.fullmatch(matched[1], reason)}
    ours = {reason for reason in Reason if reason.end.attribution is Attribution.US}
    assert counted == ours - {Reason.SHUTDOWN, Reason.SUPERSEDED}


RULES_TESTS: Final = ("rules_test.yml", "rules_hours_test.yml")


def test_every_alert_is_tried() -> None:
    tried = {
        test["alertname"]
        for name in RULES_TESTS
        for group in yaml.safe_load((PROMETHEUS / name).read_text())["tests"]
        for test in group["alert_rule_test"]
        if test["exp_alerts"]
    }
    assert tried == {rule["alert"] for rule in rules("alerts.yml")}


def test_each_alert_is_provoked_on_a_real_run_or_said_not_to_be() -> None:
    calls = re.findall(r"(?:await fires|ask\(alert)\(([^)]*)\)", Path(__file__).read_text())
    provoked = set(re.findall(r'"(Poolmgr\w+)"', "".join(calls)))
    operations = (DEPLOY.parent / "docs" / "operations.md").read_text()
    _, _, told = operations.partition("\n## Alerts and dashboards\n")
    said_not = set(re.findall(r"^\| `(Poolmgr\w+)` \|", told, re.MULTILINE))
    assert provoked | said_not == {rule["alert"] for rule in rules("alerts.yml")}
    assert not provoked & said_not
    assert f"Of the {len(provoked | said_not)}, {len(provoked)} are provoked" in told


def promtool(*command: str) -> None:
    sparing = {**os.environ, "GOGC": "800", "GOMAXPROCS": "1"}  # it ends soon, and need not collect its garbage
    done = subprocess.run(
        ["promtool", *command], cwd=PROMETHEUS, capture_output=True, text=True, timeout=100, check=False, env=sparing
    )
    assert done.returncode == 0, done.stdout + done.stderr


@installed
@pytest.mark.parametrize(
    "command",
    [
        ("check", "rules", "recording.yml", "alerts.yml"),
        pytest.param(("test", "rules", *RULES_TESTS), marks=pytest.mark.long),
        ("check", "config", "prometheus.yml"),
        ("check", "config", "ec2.yml"),
    ],
    ids=" ".join,
)
def test_prometheus_takes_them(command: tuple[str, ...]) -> None:
    promtool(*command)


@installed
def test_prometheus_takes_what_is_for_kubernetes(tmp_path: Path) -> None:
    """But for the discovery itself, which Debian's Prometheus is built without."""
    config = yaml.safe_load((PROMETHEUS / "kubernetes.yml").read_text())
    config["rule_files"] = []
    for job in config["scrape_configs"]:
        assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
    (tmp_path / "kubernetes.yml").write_text(yaml.safe_dump(config))
    promtool("check", "config", str(tmp_path / "kubernetes.yml"))


@asynccontextmanager
async def scraping(folder: Path, manager: str, agent: str, every_s: int = 1) -> AsyncGenerator[Prometheus]:
    """A real one. It gives up a scrape that takes as long as `every_s`."""
    [port] = free_ports(1)
    (folder / "prometheus.yml").write_text(configuration({"poolmgr": manager, "poolmgr-worker": agent}, every_s))
    process = await asyncio.create_subprocess_exec(
        *command("prometheus", folder, port),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with aiohttp.ClientSession() as session:
            prometheus = Prometheus(f"http://127.0.0.1:{port}", session)
            await wait_until(prometheus.is_ready)
            yield prometheus
    finally:
        process.terminate()
        await process.wait()


def agent_metrics() -> AgentMetrics:
    """Of an agent that has done something."""
    metrics = AgentMetrics()
    metrics.reports = lambda: {"w": WorkerReport(WorkerState.IDLE)}
    metrics.ordered(Join("w", "b", 1, "room", "http://127.0.0.1:8090/r/x", "Bot"))
    metrics.reported(WorkerWarm("vm", "w", 0.0, 0.5), BotSaw("vm", "w", "b", 1, 0.0, "lobby", "lobby"))
    metrics.clock_is_ahead(0.001)
    return metrics


_NOT_ALWAYS = (
    "API", "Ends by reason", "Ends here", "Ends that pages cause, all platforms", "Joining, latest probe",
    "Probes that got in", "Probes that met another page", "Rules", "Screens", "Screens that no rule recognised",
    "Warm-up, median by step",
)  # fmt: skip
"""Panels that are empty until a page shows a screen, a bot ends, something is probed or goes wrong; all others show
any fleet.
"""


_SHORTER: Final = {
    "PoolmgrQueueOld": ("> 60", "> 2"),
    "PoolmgrWebhooksBehind": ("> 30", "> 2"),
    "PoolmgrMirrorBehind": ("> 300", "> 2"),
    "PoolmgrJoinSloBurnsFast": ('le="60.0"', 'le="1.0"'),
    "PoolmgrJoinSloBurnsSlowly": ('le="60.0"', 'le="1.0"'),
}
"""Alerts that wait for something to take minutes, with what takes seconds in its place."""


@cache
def alert(name: str) -> str:
    """Its expression, with what it looks back to shortened to seconds: a fault of this test is not 30 minutes old. What
    is recorded under a name is written out.
    """
    [expression] = [rule["expr"] for rule in rules("alerts.yml") if rule["alert"] == name]
    for rule in rules("recording.yml"):
        if name in _SHORTER:
            expression = expression.replace(rule["record"], f"({rule['expr']})")
    before, after = _SHORTER.get(name, ("", ""))
    assert before in expression
    return re.sub(r"\[\d+[mh]\]", "[20s]", expression.replace(before, after) if before else expression)


@asynccontextmanager
async def gone_receiver() -> AsyncGenerator[str]:
    """Of webhooks: it wants no more of them."""
    app = web.Application()
    app.router.add_post("/", answer_gone)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


async def answer_gone(_: web.Request) -> web.Response:
    return web.Response(status=410)


@installed
@pytest.mark.long
async def test_each_fault_that_is_provoked_turns_up_in_the_alert_that_is_for_it(
    own_redis: RedisServer, prefix: str, tmp_path: Path
) -> None:
    [port] = free_ports(1)
    of_agent = AgentMetrics()
    server, _ = start_http_server(port, "127.0.0.1", registry=of_agent.registry)
    world = World(own_redis.url, prefix)
    agent, listen = world.agent("vm-a"), world.settings.metrics.listen

    async with scraping(tmp_path, listen, f"127.0.0.1:{port}", 2) as prometheus, gone_receiver() as receiver:

        async def fires(*names: str) -> None:
            for name in names:
                await wait_until(lambda name=name: prometheus.ask(alert(name)))

        async with world.leading() as call:
            async with agent.running():
                await wait_until(lambda: agent.idle == 3)

                async def is_in_meeting(**fields: Any) -> tuple[str, str]:
                    """A new bot, and its worker."""
                    bot_id = (await call.create(**fields)).body["bot_id"]
                    await world.until_state(bot_id, "in_meeting")
                    [worker_id] = [name for name, report in agent.workers.items() if report.bot_id == bot_id]
                    await wait_until(lambda: agent.idle == 3)
                    return bot_id, worker_id

                async def saw_what_no_rule_knows(*times: float) -> None:
                    for at in times:
                        event = BotSaw("vm-a", worker_id, bot_id, 1, at, "unknown", "unknown")
                        await agent._tell(event)  # pyright: ignore[reportPrivateUsage]

                bot_id, worker_id = await is_in_meeting()
                await saw_what_no_rule_knows(time.time())
                await wait_until(lambda: prometheus.ask('poolmgr_screens_seen_total{screen="unknown"}'))
                quiet = (
                    *("PoolmgrWarmSupplyExhausted", "PoolmgrNoVmForJobs", "PoolmgrWarmUpsFail", "PoolmgrBotsDoNotJoin"),
                    *("PoolmgrUnknownScreens", "PoolmgrWebhooksGivenUp", "PoolmgrRedisNearlyFull", "PoolmgrVmSilent"),
                    *("PoolmgrEventsWait", "PoolmgrClockOff", "PoolmgrAccountRefused", "PoolmgrAccountExpires"),
                    *("PoolmgrAgentsQuiet", "PoolmgrNobodyLeads"),
                )

                async def nothing_fires() -> bool:
                    return not [name for name in quiet if await prometheus.ask(alert(name))]

                await wait_until(nothing_fires)
                of_agent.unwritten = lambda: 200
                of_agent.clock_is_ahead(-2.0)
                of_agent.accounts = lambda: {"ann": Health(time.time() + 86400, refused=True)}
                await saw_what_no_rule_knows(*(time.time() + number for number in range(8)))
                await fires("PoolmgrEventsWait", "PoolmgrClockOff", "PoolmgrAccountRefused", "PoolmgrAccountExpires")
                await fires("PoolmgrUnknownScreens")

                await is_in_meeting(callback_url=receiver)
                await fires("PoolmgrWebhooksGivenUp")

                for _ in range(4):  # the first of them counts, too
                    _, crashed = await is_in_meeting()
                    await agent.end(crashed, Reason.BROWSER_CRASHED)
                await fires("PoolmgrBotsDoNotJoin")

                await call.create(requires={"region": "nowhere"})
                await fires("PoolmgrNoVmForJobs")
                agent.warms = False
                for _ in range(3):
                    await call.create()
                await fires("PoolmgrWarmSupplyExhausted", "PoolmgrWarmUpsFail")

                used = (await world.redis.info("memory"))["used_memory"]
                await world.redis.config_set("maxmemory", int(used * 1.1))
                await fires("PoolmgrRedisNearlyFull")
                await world.redis.config_set("maxmemory", 0)
            await fires("PoolmgrVmSilent", "PoolmgrAgentsQuiet")
        await fires("PoolmgrNobodyLeads")
    server.shutdown()
    server.server_close()
    await world.redis.aclose()


@installed
@pytest.mark.long
async def test_each_fault_that_takes_time_turns_up_in_the_alert_that_is_for_it(
    own_redis: RedisServer, prefix: str, tmp_path: Path
) -> None:
    [port] = free_ports(1)
    of_agent = AgentMetrics()
    server, _ = start_http_server(port, "127.0.0.1", registry=of_agent.registry)
    world = World(own_redis.url, prefix)
    settings = world.settings
    world.settings = msgspec.structs.replace(
        settings,
        pool=msgspec.structs.replace(settings.pool, overdue_after_s=6.0),
        webhooks=msgspec.structs.replace(settings.webhooks, at_once_per_host=1),
        mirror=MirrorSettings(table="records"),
        probes=ProbesSettings(every_s=2.0, links=[ProbeSettings("ours", LINK)]),
    )
    mirrored = Mirrored(world.redis, world.keys)
    await mirrored.reached(await mirrored.last())  # a mirror that was there, and is not any more
    agent, listen = world.agent("vm-a"), world.settings.metrics.listen
    silent = socket.create_server(("127.0.0.1", 0))
    receiver = f"http://127.0.0.1:{silent.getsockname()[1]}/"  # of webhooks: it is connected to, and never answers
    async with (
        scraping(tmp_path, listen, f"127.0.0.1:{port}", 2) as prometheus,
        world.leading() as call,
        watched(of_agent.loop.beat),
    ):

        async def fires(*names: str) -> None:
            for name in names:
                await wait_until(lambda name=name: prometheus.ask(alert(name)))

        async def quiet() -> bool:
            names = (
                *("PoolmgrQueueOld", "PoolmgrWarmSupplyLow", "PoolmgrWebhooksBehind", "PoolmgrOverdue"),
                *("PoolmgrJoinSloBurnsFast", "PoolmgrJoinSloBurnsSlowly", "PoolmgrDispatchSlow", "PoolmgrApiFails"),
                *("PoolmgrProbeMetAnotherPage", "PoolmgrProbeFails"),
            )
            return not [name for name in names if await prometheus.ask(alert(name))]

        async with agent.running():
            agent._stay_s = 0.1  # pyright: ignore[reportPrivateUsage]
            await wait_until(lambda: prometheus.ask("poolmgr_probe_in_meeting == 1"))
            await wait_until(quiet)
            await fires("PoolmgrMirrorBehind")

            agent.joins_in_s = 1.5
            await fires("PoolmgrJoinSloBurnsFast", "PoolmgrJoinSloBurnsSlowly")
            agent.joins_in_s = 0.0
            agent.meets = Reason.UI_ELEMENT_NOT_FOUND
            await fires("PoolmgrProbeMetAnotherPage", "PoolmgrProbeFails")

            agent.meets = agent._stay_s = None  # pyright: ignore[reportPrivateUsage]
            agent.leaves = False
            for _ in range(2):
                await call.create(callback_url=receiver)
            await fires("PoolmgrWebhooksBehind", "PoolmgrOverdue")
            agent.leaves = True

            agent.warms = False
            for _ in range(6):
                await call.create()
            await fires("PoolmgrWarmSupplyLow", "PoolmgrQueueOld")
            await wait_until(lambda: prometheus.ask("max(poolmgr_queue_longest_wait_seconds) > 5"))
            agent.warms = True
            await fires("PoolmgrDispatchSlow")

            time.sleep(0.8)  # noqa: ASYNC251 - what holds up both loops, which are one here
            await fires("PoolmgrLoopHeld", "PoolmgrAgentLoopHeld")

        await world.redis.config_set("min-replicas-to-write", 1)  # it takes no write any more

        async def is_refused() -> bool:
            assert (await call.create()).status == 503
            return bool(await prometheus.ask(alert("PoolmgrApiFails")))

        await wait_until(is_refused)
    silent.close()
    server.shutdown()
    server.server_close()
    await world.redis.aclose()


@pytest.mark.long
@installed
async def test_every_query_answers_of_a_real_run_and_changes_with_it(world: World, tmp_path: Path) -> None:
    [port] = free_ports(1)
    server, _ = start_http_server(port, "127.0.0.1", registry=agent_metrics().registry)
    agent = world.agent("vm-a")
    try:
        async with (
            world.leading() as call,
            scraping(tmp_path, world.settings.metrics.listen, f"127.0.0.1:{port}") as prometheus,
        ):
            async with agent.running():
                await wait_until(lambda: agent.idle == 3)
                for number in range(4):
                    bot_id = (await call.create(bot_name=f"Bot {number}")).body["bot_id"]
                    await world.until_state(bot_id, "in_meeting")
                    if number == 0:
                        await call("POST", f"/bots/{bot_id}/remove_bot", {})
                        await world.until_state(bot_id, "stopped")
                    joined = number + 1

                    async def is_seen(joined: int = joined) -> bool:
                        return await prometheus.number("sum(poolmgr_join_seconds_count)") == joined

                    await wait_until(is_seen)

                async def all_answer() -> bool:
                    return not [
                        title
                        for title, query in dashboards.queries()
                        if title not in _NOT_ALWAYS and not await prometheus.ask(query)
                    ]

                await wait_until(all_answer)
                for _, query in every_query():
                    await prometheus.ask(query)
                assert await prometheus.number('sum(poolmgr_bots{state="in_meeting"})') == 3
                assert await prometheus.number("sum(poolmgr_leader)") == 1
                seen = await look(prometheus)
                assert [fault for fault in (*seen.targets.values(), *seen.rules.values()) if fault] == []
                assert len(seen.targets) == 2
                now = time.time()
                assert ">in_meeting<" in await draw(prometheus, "fleet", "of this test", now - 10, now)
                assert await prometheus.ask('ALERTS{alertname="PoolmgrVmSilent"}') == []

            async def is_pending() -> bool:
                return bool(await prometheus.ask('ALERTS{alertname="PoolmgrVmSilent"}'))

            await wait_until(is_pending)  # its agent is gone
    finally:
        server.shutdown()
        server.server_close()
