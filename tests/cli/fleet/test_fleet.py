"""`fleet` and `drain`."""

import json
import re
import signal
from collections.abc import Callable

import msgspec
import pytest
from redis import Redis

from common.wire.messages import Join, Retire, Warm, WorkerGone, WorkerReport
from common.wire.vocabulary import BotState, GoneCause, Reason, WorkerState
from poolmgr.scaling.need import Because
from poolmgr.scaling.steps import Shown, View
from poolmgr.store.keys import Keys
from tests.cli.conftest import LINK, Agent, CommandLine, busy, wait_for
from tests.fork_server import Forked
from tests.waiting import PATIENCE_S

Start = Callable[..., Forked]


def test_an_empty_fleet_says_how_to_fill_it_and_that_nobody_leads(poolmgr: CommandLine) -> None:
    shown = poolmgr("fleet").stdout
    assert "no VM yet" in shown
    assert "no manager leads" in shown
    assert poolmgr.json("fleet")["leader"] == ""


def test_the_fleet_shows_workers_by_state_against_the_target(agent: Agent, poolmgr: CommandLine) -> None:
    wait_for(lambda: poolmgr.json("fleet")["total"]["idle"] == 2)
    poolmgr("submit", LINK, "--bot-id", "bot-1")
    agent.orders(Join)
    heading, row, total, _, leader, numbers = poolmgr("fleet").stdout.splitlines()
    counted = dict(zip(heading.split(), row.split(), strict=True))
    assert counted == {
        "VM": "vm-1",
        "STATE": "up",
        "IDLE": "1/2",
        "WARMING": "1",
        "RESERVED": "0",
        "BUSY": "1",
        "RETIRING": "0",
        "WORKERS": "3/12",
        "BOTS": "1",
        "LOAD": "0.1",
    }
    assert total.split()[:5] == ["total", "1", "of", "1", "up"]
    assert leader.startswith("led by ")
    assert leader.endswith(", epoch 1")
    assert numbers == "1 live bot, 0 jobs wait to be taken"


@pytest.mark.long
def test_a_vm_that_says_how_many_processors_it_has_shows_how_much_of_them_is_spoken_for(
    agent: Agent, poolmgr: CommandLine
) -> None:
    wait_for(lambda: poolmgr.json("fleet")["total"]["idle"] == 2)
    agent.processors = 2.0
    agent.beat(**{warm.worker_id: WorkerReport(WorkerState.IDLE) for warm in agent.orders(Warm, 2)})
    wait_for(lambda: poolmgr.json("fleet")["vms"][0]["processors"])
    poolmgr("submit", LINK, "--bot-id", "bot-1")
    agent.orders(Join)
    [vm] = poolmgr.json("fleet")["vms"]
    assert (vm["processors"], vm["carried"]) == (2.0, {"listens": 1, "sound": 0, "picture": 0})
    _, row, total, *_ = poolmgr("fleet").stdout.splitlines()
    assert (row.split()[-1], total.split()[-1]) == ("0.1/1.8", "0.1/1.8")


@pytest.mark.long
def test_a_vm_that_makes_workers_with_a_display_shows_both_kinds_against_their_targets(
    agent: Agent, poolmgr: CommandLine
) -> None:
    wait_for(lambda: poolmgr.json("fleet")["total"]["idle"] == 2)
    plain = {warm.worker_id: WorkerReport(WorkerState.IDLE) for warm in agent.orders(Warm, 2)}
    agent.display_room = 9
    agent.beat(**plain)
    display = next(warm.worker_id for warm in agent.orders(Warm, 3) if warm.display)
    agent.beat(**plain, **{display: WorkerReport(WorkerState.WARMING, display=True)})
    agent.warm(display)
    wait_for(lambda: poolmgr.json("fleet")["vms"][0]["displays"].get("idle"))
    shown = poolmgr.json("fleet")
    assert (shown["vms"][0]["makes_displays"], shown["target"]["min_idle_display"]) == (True, 2)
    _, row, total, *_ = poolmgr("fleet").stdout.splitlines()
    assert (row.split()[2], total.split()[5]) == ("2/2+1/2", "2/2+1/2")


@pytest.mark.long
def test_labels_are_shown_where_a_vm_has_some_and_why_a_canary_is_out(
    agent: Agent, poolmgr: CommandLine, redis: Redis, keys: Keys
) -> None:
    wait_for(lambda: poolmgr.json("fleet")["total"]["idle"] == 2)
    assert "LABELS" not in poolmgr("fleet").stdout
    agent.labels = {"at": "a", "by": "b"}
    agent.beat(**{warm.worker_id: WorkerReport(WorkerState.IDLE) for warm in agent.orders(Warm, 2)})
    wait_for(lambda: poolmgr.json("fleet")["vms"][0]["labels"])
    title, row, *_ = poolmgr("fleet").stdout.splitlines()
    assert (title.split()[-1], row.split()[-2:]) == ("LABELS", ["at=a,", "by=b"])
    redis.hset(keys.vm(agent.vm_id), mapping={"canary": "1", "out": "9 of 12 joins\x1b failed"})
    lines = poolmgr("fleet").stdout.splitlines()
    assert lines[1].split()[-3:] == ["canary,", "at=a,", "by=b"]
    assert lines[-1] == (
        f"{agent.vm_id} is taken out: 9 of 12 joins\\x1b failed; `poolmgr drain {agent.vm_id} --undo` takes it back"
    )


def test_how_many_vms_are_wanted_is_shown_where_somebody_is_asked_for_them(
    redis: Redis, keys: Keys, poolmgr: CommandLine
) -> None:
    assert poolmgr.json("fleet")["scaling"] is None
    view = View(3, 4, Because.WARM_SUPPLY, 1, 9, 4, 2, 1, 1)
    for shown, line in (
        (Shown("hook", "", view=view), "3 VMs wanted (warm supply; 1 to 9), 4 asked for: 2 serve, 1 come, 1 drain"),
        (Shown("hook", "", "no\x1b route", view), "1 drain; hook does not answer: no\\x1b route"),
        (Shown("hook", "", "no route"), "hook does not answer: no route"),
    ):
        redis.hset(keys.scaling, "shown", msgspec.json.encode(shown))
        redis.expire(keys.scaling, 60)
        assert poolmgr("fleet").stdout.splitlines()[-1].endswith(line)
    assert poolmgr.json("fleet")["scaling"]["fault"] == "no route"


def test_fewer_idle_than_the_target_are_red(agent: Agent, poolmgr: CommandLine) -> None:
    wait_for(lambda: poolmgr.json("fleet")["total"]["idle"] == 2)
    bold_red, green = r"\x1b\[1;31m", r"\x1b\[32m"
    assert re.search(f"{green} *2/2", poolmgr("fleet", FORCE_COLOR="1", TERM="xterm").stdout)
    poolmgr("submit", LINK)
    agent.orders(Join)
    assert re.search(f"{bold_red} *1/2", poolmgr("fleet", FORCE_COLOR="1", TERM="xterm").stdout)


def test_watch_prints_anew_until_ctrl_c(start: Start) -> None:
    watching = start("fleet", "--watch", "--json")
    assert watching.stdout
    for _ in range(2):
        assert json.loads(watching.stdout.readline())["vms"] == []
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(PATIENCE_S)
    assert err == ""
    assert watching.returncode == 0


def test_a_hostile_vm_name_is_printed_and_not_obeyed(
    agent: Agent, poolmgr: CommandLine, redis: Redis, keys: Keys
) -> None:
    Agent(redis, keys, "\x1b[2J[red]vm[/red]").beat()
    wait_for(lambda: len(poolmgr.json("fleet")["vms"]) == 2)
    assert "\\x1b[2J[red]vm[/red]" in poolmgr("fleet").stdout


def test_drain_waits_until_no_worker_is_left(agent: Agent, poolmgr: CommandLine, start: Start) -> None:
    poolmgr("submit", LINK, "--bot-id", "bot-1")
    (join,) = agent.orders(Join)
    agent.move(join, BotState.IN_MEETING)
    draining = start("drain", "vm-1", "--wait")
    for order in agent.orders(Retire, 2):
        agent.send(WorkerGone("vm-1", order.worker_id, 0.0, GoneCause.RETIRED))
    wait_for(lambda: poolmgr.json("fleet")["vms"][0]["workers"]["retiring"] == 0)
    (vm,) = poolmgr.json("fleet")["vms"]
    assert (vm["state"], vm["bots"]) == ("draining", ["bot-1"])
    agent.beat(**{join.worker_id: busy(join)})
    assert draining.poll() is None

    agent.end(join, Reason.MEETING_ENDED)
    agent.send(WorkerGone("vm-1", join.worker_id, 0.0, GoneCause.SPENT))
    out, _ = draining.communicate(PATIENCE_S)
    first, *_, last = out.splitlines()
    assert first == "vm-1: asked to drain"
    assert last.endswith("  drained: no worker is left")
    assert draining.returncode == 0


def test_drain_gives_up_at_its_timeout_and_can_be_undone(agent: Agent, poolmgr: CommandLine) -> None:
    result = poolmgr("drain", "vm-1", "--wait", "--timeout", "0.3")
    assert result.exit_code == 6
    assert "vm-1 still has workers after 0.3 s; it goes on draining" in result.stderr
    wait_for(lambda: poolmgr.json("fleet")["vms"][0]["state"] == "draining")
    assert poolmgr.json("drain", agent.vm_id, "--undo") == {"vm_id": "vm-1", "requested": "undo"}
    wait_for(lambda: poolmgr.json("fleet")["vms"][0]["state"] == "up")


def test_drain_knows_no_such_vm(poolmgr: CommandLine) -> None:
    result = poolmgr("drain", "vm-9")
    assert result.exit_code == 4
    assert "there is no VM vm-9" in result.stderr


@pytest.mark.parametrize("arguments", [("--undo", "--wait"), ("--timeout", "3")])
def test_drain_refuses_options_that_contradict(arguments: tuple[str, ...], poolmgr: CommandLine) -> None:
    assert poolmgr("drain", "vm-1", *arguments).exit_code == 2
