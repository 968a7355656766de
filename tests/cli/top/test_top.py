import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from redis import Redis

from common.jobs.record import iso
from common.runtime.exits import EXIT_UNREACHABLE, EXIT_USAGE
from common.wire.vocabulary import WorkerState
from poolmgr.store.keys import Keys
from poolmgr.store.reading.views import decode_request
from tests.cli.conftest import ROOT, CommandLine
from tests.cli.top.conftest import Start
from tests.terminal import Terminal

HOSTILE = "\x1b[2J\x1b[HNotes\x9b31m"


class Fleet:
    """As a manager has written it."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis: Any = redis
        self._keys = keys

    def vms(self, number: int) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for place in range(number):
            vm_id = f"vm-{place:04}"
            pipeline.sadd(self._keys.vms, vm_id)
            pipeline.hset(self._keys.vm(vm_id), mapping={"session": "s", "at": iso(time.time())})
            pipeline.set(self._keys.alive(vm_id), "agent", ex=600)
            for worker in range(2):
                self.worker(pipeline, vm_id, f"{vm_id}-1-{worker}", WorkerState.IDLE)
        pipeline.execute()

    def worker(self, redis: Any, vm_id: str, worker_id: str, state: WorkerState, bot_id: str = "") -> None:
        now = time.time()
        body = f'{{"state":"{state}","since":{now},"born":{now},"bot_id":"{bot_id}"}}'
        redis.hset(self._keys.workers(vm_id), worker_id, body)

    def bot(self, bot_id: str, *, name: str = "Notes", state: str = "in_meeting", vm_id: str = "vm-0000") -> None:
        now = time.time()
        status = {"in_meeting": "InMeeting", "queued": "Joining"}[state]
        self._redis.hset(
            self._keys.bot(bot_id),
            mapping={
                "bot_id": bot_id, "bot_name": name, "state": state, "status": status, "vm_id": vm_id, "attempt": 1,
                "platform": "room", "created_at": iso(now - 30), "inmeeting_at": iso(now - 20),
            },
        )  # fmt: skip
        for key in (self._keys.live, self._keys.all_bots):
            self._redis.zadd(key, {bot_id: now})
        if vm_id:
            self.worker(self._redis, vm_id, f"{vm_id}-1-9", WorkerState.BUSY, bot_id)

    def asked(self) -> list[Any]:
        return [decode_request(fields) for _, fields in self._redis.xrange(self._keys.control)]


@pytest.fixture
def fleet(redis: Redis, keys: Keys) -> Fleet:
    return Fleet(redis, keys)


def quits(seen: Terminal) -> None:
    seen.type("q")
    assert seen.ends() == 0
    assert seen.modes == seen.modes_before


def test_an_empty_fleet_says_what_to_do_and_the_terminal_is_given_back(start: Start) -> None:
    seen = start()
    seen.shows("no VM yet")
    seen.shows("no manager leads")
    assert seen.screen.cursor.hidden
    quits(seen)
    seen.read(0.2)
    assert not seen.screen.cursor.hidden


def test_vms_and_bots_are_shown_in_eighty_by_twenty_four_and_none_can_steer_the_terminal(
    start: Start, fleet: Fleet
) -> None:
    fleet.vms(3)
    fleet.bot("bot-1", name=HOSTILE)
    seen = start()
    seen.shows("vm-0002")
    seen.until(lambda: any(row.split()[:3] == ["vm-0001", "up", "2/2"] for row in seen.screen.display))
    assert "BOTS" in seen.text
    seen.type("\t")
    seen.shows("bot-1")
    assert seen.screen.display[0].startswith("poolmgr top")
    assert r"\x1b[2J" in seen.text, seen.text
    assert "JOIN" in seen.text
    assert seen.screen.display[-1].rstrip().endswith("d drain  ?")
    quits(seen)


def test_rows_are_chosen_sorted_and_filtered_by_keys(start: Start, fleet: Fleet) -> None:
    fleet.vms(3)
    fleet.bot("bot-1", vm_id="vm-0001")
    fleet.bot("bot-2", name="Other", state="queued", vm_id="")
    seen = start()
    seen.shows("vm-0002")
    seen.type("r")
    seen.shows("by vm (down)")
    seen.type("/0001\r")
    seen.until(lambda: "vm-0001" in seen.text and "vm-0002" not in seen.text)
    seen.type("\r")  # its bots
    seen.shows("1 bots, the newest, by age (up), on vm-0001")
    seen.type("\x1b")
    seen.shows("2 bots, the newest")
    seen.type("ff")
    seen.until(lambda: "in state queued" in seen.text and "Other" in seen.text and "bot-1" not in seen.text)
    quits(seen)


def test_what_is_confirmed_is_asked_of_the_manager_and_nothing_else(start: Start, fleet: Fleet) -> None:
    fleet.vms(1)
    fleet.bot("bot-1")
    seen = start()
    seen.shows("vm-0000")
    seen.type("d")
    seen.shows("Drain vm-0000?")
    seen.type("n")
    seen.shows("nothing was done")
    assert not fleet.asked()
    seen.type("dy")
    seen.shows("vm-0000: asked to drain")
    seen.type("\tl")
    seen.shows("Have Notes (bot-1) leave?")
    seen.type("y")
    seen.shows("bot-1: asked to leave")
    assert [(type(one).__name__, getattr(one, "vm_id", "") or one.bot_id) for one in fleet.asked()] == [
        ("DrainRequested", "vm-0000"),
        ("LeaveRequested", "bot-1"),
    ]
    quits(seen)


@pytest.mark.long
def test_it_goes_with_the_size_of_its_terminal(start: Start, fleet: Fleet) -> None:
    fleet.vms(40)
    seen = start()
    seen.shows("vm-0010")
    assert "vm-0030" not in seen.text
    seen.resize(120, 60)
    seen.shows("vm-0039")
    seen.resize(20, 5)
    seen.shows("needs 40 x 10")
    seen.resize(80, 24)
    seen.shows("RETIRING")
    quits(seen)


@pytest.mark.long
def test_a_thousand_vms_cost_redis_a_bounded_number_of_calls_a_second(start: Start, fleet: Fleet, redis: Any) -> None:
    fleet.vms(1000)
    seen = start()
    seen.shows("1000 VMs: 1000 up")
    seen.type("\x1bOF")  # the key End
    seen.shows("vm-0999")

    def calls() -> int:
        return sum(one["calls"] for one in redis.info("commandstats").values())

    before, began = calls(), time.monotonic()
    while time.monotonic() < began + 3:
        seen.read(0.1)
    a_second = (calls() - before) / (time.monotonic() - began)
    assert 0 < a_second < 500
    quits(seen)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_and_the_terminal_is_as_before(number: int, start: Start) -> None:
    seen = start()
    seen.shows("no VM yet")
    seen.signal(number)
    assert seen.ends() == 0
    assert seen.modes == seen.modes_before


def test_a_redis_that_goes_is_told_on_the_screen_and_looked_for_until_it_is_back(
    start: Start, own_redis: Any, poolmgr: CommandLine
) -> None:
    seen = start(POOLMGR_REDIS__URL=own_redis.url)
    seen.shows("no VM yet")
    own_redis.stop()
    seen.shows("Redis is away")
    seen.shows("no VM yet")
    own_redis.start()
    seen.until(lambda: "Redis is away" not in seen.text)
    quits(seen)


def test_without_a_terminal_it_says_what_to_use(poolmgr: CommandLine) -> None:
    result = poolmgr("top")
    assert result.exit_code == EXIT_USAGE
    assert "needs a terminal; `poolmgr fleet`" in result.stderr


@pytest.mark.parametrize("kind", ["dumb", "no-such-terminal", ""])
def test_a_terminal_that_cannot_be_drawn_on_is_named(kind: str, start: Start) -> None:
    seen = start(TERM=kind)
    seen.shows("set TERM to what it is")
    assert seen.ends() == EXIT_USAGE
    assert "Traceback" not in seen.text


def test_a_redis_that_is_away_is_told_before_the_screen_is_taken(start: Start) -> None:
    seen = start(POOLMGR_REDIS__URL="redis://127.0.0.1:1/0")
    assert seen.ends() == EXIT_UNREACHABLE
    seen.shows("cannot reach Redis")


def test_it_imports_no_curses_until_it_is_called() -> None:
    code = "import sys\nfrom poolmgr.cli.top import command\nprint('curses' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "False\n"
