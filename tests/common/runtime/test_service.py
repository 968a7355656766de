"""What systemd is told, read from a real datagram socket."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from common.runtime.loop.turns import Turns
from common.runtime.service import Service, telling
from tests.notified import Notified
from tests.waiting import PATIENCE_S, wait_until


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Notified]:
    listener = Notified(tmp_path / "notify")
    yield listener
    listener.close()


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": str(tmp_path / "notify"), "KEPT": "1", **more}


def test_each_message_is_as_the_protocol_has_it(listener: Notified, tmp_path: Path) -> None:
    service = Service.of_environment(environment(tmp_path))
    service.ready()
    service.status("leads,\n  epoch 7")
    service.alive()
    service.reloading()
    service.stopping()
    *others, reloading, at, stopping = listener.hear()
    assert others == ["READY=1", "STATUS=leads, epoch 7", "WATCHDOG=1"]
    assert (reloading, stopping) == ("RELOADING=1", "STOPPING=1")
    assert at.startswith("MONOTONIC_USEC=")


def test_an_abstract_socket_is_reached() -> None:
    name = f"poolmgr-test-{os.getpid()}"
    listener = Notified(f"\0{name}")
    Service(f"@{name}").ready()
    assert listener.hear() == ["READY=1"]
    listener.close()


@pytest.mark.parametrize(
    ("more", "watchdog_s"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "this one's"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
    ],
)
def test_the_watchdog_is_heeded_where_it_means_this_process_and_no_child_inherits_it(
    tmp_path: Path, more: dict[str, str], watchdog_s: float
) -> None:
    named = {"WATCHDOG_PID": str(os.getpid())} if more.get("WATCHDOG_PID") == "this one's" else {}
    variables = environment(tmp_path, **more | named)
    assert Service.of_environment(variables).watchdog_s == watchdog_s
    assert variables == {"KEPT": "1"}


def test_a_socket_that_nobody_reads_harms_nobody_and_is_told_of_once(tmp_path: Path) -> None:
    service = Service(str(tmp_path / "nobody"))
    with capture_logs() as logs:
        service.ready()
        service.alive()
    assert [entry["event"] for entry in logs] == ["systemd_not_told"]


def test_what_a_busy_systemd_does_not_take_is_said_again_and_in_order(listener: Notified) -> None:
    service = Service(listener.address, 30.0)
    while not _is_full(listener.address):
        service.alive()
    service.ready()
    service.stopping()
    assert "READY=1" not in listener.hear()
    service.alive()
    assert listener.hear()[-3:] == ["READY=1", "STOPPING=1", "WATCHDOG=1"]


def _is_full(address: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as out:
        try:
            out.sendto(b"X=1", address)
        except BlockingIOError:
            return True
    return False


async def test_without_systemd_nothing_is_said_but_a_loop_that_stands_still_is(tmp_path: Path) -> None:
    turns = Turns()
    with capture_logs() as logs, turns.expecting(0.0, "events"):
        async with telling(Service(), lambda: "works", turns, look_s=0.01):
            await wait_until(lambda: logs)
    assert (logs[0]["event"], logs[0]["loops"]) == ("loops_stand_still", ["events"])


async def test_a_status_is_told_when_it_changes(listener: Notified) -> None:
    looks = count()
    async with telling(
        Service(listener.address), lambda: "stands by" if next(looks) < 10 else "leads", Turns(), look_s=0.005
    ):
        await wait_until(lambda: "STATUS=leads" in listener.hear())
    assert listener.said == ["STATUS=stands by", "STATUS=leads"]


async def test_the_watchdog_is_fed_only_while_every_loop_turns(listener: Notified) -> None:
    now, looks = [0.0], count()

    def steady() -> float:
        next(looks)
        return now[0]

    turns = Turns(steady)
    with turns.expecting(5.0, "events", "dispatcher"):
        async with telling(Service(listener.address, watchdog_s=0.02), lambda: "works", turns):
            await wait_until(lambda: listener.hear().count("WATCHDOG=1") > 3)
            now[0] += 4.0
            turns.turned("dispatcher")
            now[0] += 2.0
            await wait_until(lambda: "STATUS=events stand still" in listener.hear())
            fed = listener.said.count("WATCHDOG=1")
            looked = next(looks)
            await wait_until(lambda: next(looks) > looked + 20)  # each look reads the clock, and each wait here once
            assert listener.hear().count("WATCHDOG=1") == fed
            turns.turned("events")
            await wait_until(lambda: listener.hear().count("WATCHDOG=1") > fed)


def test_the_process_that_systemd_ends_says_where_it_stood() -> None:
    program = """
import asyncio, os, signal
from common.runtime.service import Service, telling
from common.runtime.loop.turns import Turns
async def main():
    async with telling(Service("/nowhere", 30.0), str, Turns()):
        stand_still()
def stand_still():
    os.kill(os.getpid(), signal.SIGABRT)
asyncio.run(main())
"""
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == -signal.SIGABRT
    assert "in stand_still" in done.stderr
