"""The leader's scaling: on a real Redis, with a real pool, and with a cloud of the tests that fails and is late."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from common.config.settings import PoolSettings, ScalingSettings
from common.runtime.clock import Clock
from common.wire.messages import BotEnded, Heartbeat, WorkerGone, WorkerReport
from common.wire.vocabulary import BotState, GoneCause, Reason, WorkerState
from poolmgr.app import Manager
from poolmgr.core.decisions import Accept, Decision, Enqueue
from poolmgr.core.events import DrainRequested, JobAccepted, LeaveRequested
from poolmgr.core.pool import Pool
from poolmgr.loops.dispatcher import Dispatcher
from poolmgr.loops.scaling import Scaling, zone_of
from poolmgr.observe.metrics import Metrics
from poolmgr.providers.provider import CannotScaleError, ProviderError
from poolmgr.scaling.need import Because
from poolmgr.scaling.steps import Group
from poolmgr.store.leader.ledger import StaleEpochError
from poolmgr.store.leader.scaling import KeptScaling
from tests.api.conftest import World, world
from tests.core.builders import job
from tests.waiting import wait_until

__all__ = ["world"]

POOL = PoolSettings(min_idle=1, max_workers=2)
SETTINGS = ScalingSettings(provider="hook", min_vms=1, max_vms=4, cool_down_s=60, lead_time_s=100, every_s=30)


class Cloud:
    """A provider. `fault`: raised by every call."""

    def __init__(self, wanted: int = 1) -> None:
        self.wanted = wanted
        self.leaving: tuple[str, ...] = ()
        self.arriving: tuple[str, ...] = ()
        self.calls = list[tuple[Any, ...]]()
        self.fault: ProviderError | None = None
        self.fails_to_grow = False

    async def look(self) -> Group:
        if self.fault:
            raise self.fault
        return Group(self.wanted, leaving=self.leaving, arriving=self.arriving)

    async def grow(self, to: int) -> None:
        if self.fails_to_grow:
            raise ProviderError("no quota")
        self.calls.append(("grow", to))
        self.wanted = max(self.wanted, to)

    async def give_back(self, vm_id: str, left: int) -> None:
        self.calls.append(("give_back", vm_id, left))
        self.wanted = left

    async def release(self, vm_id: str) -> None:
        self.calls.append(("release", vm_id))
        self.leaving = tuple(other for other in self.leaving if other != vm_id)

    async def admit(self, vm_id: str) -> None:
        self.calls.append(("admit", vm_id))
        self.arriving = tuple(other for other in self.arriving if other != vm_id)

    async def close(self) -> None: ...


class At(Clock):
    """Clocks that the test moves together. It begins on a Thursday at 08:00 UTC."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_800_000_000.0

    def wall(self) -> float:
        return self.now

    def steady(self) -> float:
        return self.now


class Ground:
    """A leader's pool with its scaling, and no agents: the test tells the pool what they would."""

    def __init__(self, world: World, dispatcher: Dispatcher, clock: At) -> None:
        self.cloud = Cloud()
        self.clock = clock
        self.dispatcher = dispatcher
        self.pool = dispatcher.pool
        self.metrics = Metrics(clock)
        self._world = world
        self.scaling = self.next_leader()

    def next_leader(self, epoch: int = 1) -> Scaling:
        kept = KeptScaling(self._world.redis, self._world.keys, epoch)
        shown = self.metrics.scaling
        return Scaling(SETTINGS, POOL, self.cloud, kept, self.dispatcher, self.clock, shown)

    def beat(self, vm_id: str, *idle: str) -> None:
        workers = {worker_id: WorkerReport(WorkerState.IDLE) for worker_id in idle}
        self.dispatcher.put(Heartbeat(vm_id, "session", self.clock.now, workers, 100))

    def job(self, bot_id: str) -> None:
        self.dispatcher.put(JobAccepted(bot_id, job(), self.clock.now))

    def end_all(self) -> None:
        for bot in list(self.pool.bots.values()):
            if bot.worker_id:
                of = (bot.vm_id, bot.worker_id)
                ended = BotEnded(*of, bot.bot_id, bot.attempt, self.clock.now, Reason.MEETING_ENDED)
                self.dispatcher.put(ended)
                self.dispatcher.put(WorkerGone(*of, self.clock.now, GoneCause.SPENT))
            else:
                self.dispatcher.put(LeaveRequested(bot.bot_id))

    def empty(self, vm_id: str) -> None:
        """Its workers, which were ordered to end, are gone."""
        for worker_id in list(self.pool.fleet.vms[vm_id].workers):
            self.dispatcher.put(WorkerGone(vm_id, worker_id, self.clock.now, GoneCause.RETIRED))

    async def shown(self) -> Any:
        return await self._world.views.scaling()

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"poolmgr_scaling_{name}", labels)


@pytest.fixture
async def ground(world: World) -> AsyncGenerator[Ground]:
    hand = await world.ledger()
    clock = At()
    ledger = hand._ledger  # pyright: ignore[reportPrivateUsage]
    async with asyncio.TaskGroup() as group:
        made = list[Ground]()

        def decided(decisions: Sequence[Decision]) -> None:
            for decision in decisions if made else ():
                made[0].scaling.decided(decision)

        dispatcher = Dispatcher(Pool(POOL, epoch=1), ledger, clock, decided)
        made.append(Ground(world, dispatcher, clock))
        running = group.create_task(dispatcher.run(), name="dispatcher")
        yield made[0]
        running.cancel()


async def test_demand_makes_vms_and_quiet_gives_the_empty_ones_back(ground: Ground) -> None:
    ground.beat("vm-0", "vm-0-9-1", "vm-0-9-2")
    for number in range(3):
        ground.job(f"bot-{number}")
    await ground.dispatcher.durable()
    with capture_logs() as logs:
        assert await ground.scaling.turn() == 30
    assert ground.cloud.calls == [("grow", 2)]
    assert [(log["event"], log.get("to")) for log in logs] == [("vms_asked_for", 2)]
    shown = await ground.shown()
    assert (shown.view.target, shown.view.asked, shown.view.serving) == (2, 1, 1)
    assert ground.metric("vms", count="target") == 2
    assert ground.metric("actions_total", action="grow") == 1

    ground.clock.now += 50
    ground.beat("vm-1", "vm-1-9-1")
    await ground.scaling.turn()
    assert len(ground.cloud.calls) == 1
    ground.end_all()
    ground.clock.now += 70
    await ground.scaling.turn()
    set_aside = next(vm for vm in ground.pool.fleet if vm.draining)
    assert ground.cloud.calls == [("grow", 2)]  # not in the same look
    ground.empty(set_aside.vm_id)
    await ground.scaling.turn()
    assert ground.cloud.calls[1:] == [("give_back", set_aside.vm_id, 1)]


async def test_a_vm_with_a_bot_is_set_aside_and_not_given_back_and_taken_back_by_the_next_leader(
    ground: Ground,
) -> None:
    ground.cloud.wanted = 2
    for vm_id in ("vm-0", "vm-1"):
        ground.beat(vm_id, f"{vm_id}-9-1")
    ground.clock.now += 1
    await ground.scaling.turn()
    ground.clock.now += 100
    # Each VM has a bot, and a third would still fit.
    ground.job("bot-0")
    await ground.scaling.turn()
    aside = [vm for vm in ground.pool.fleet if vm.draining]
    assert [vm.bots for vm in aside] == [0]
    for number in range(1, 4):
        ground.job(f"bot-{number}")
    await ground.dispatcher.durable()
    leader = ground.next_leader()
    await leader.begin()
    with capture_logs() as logs:
        await leader.turn()
    assert [log["event"] for log in logs] == ["vm_taken_back", "vms_asked_for"]
    assert not any(vm.draining for vm in ground.pool.fleet)


async def test_a_vm_that_an_operator_takes_back_meanwhile_is_kept(ground: Ground) -> None:
    ground.beat("vm-0")
    ground.dispatcher.put(DrainRequested("vm-0"))
    ground.empty("vm-0")
    assert ground.scaling._is_empty("vm-0")  # pyright: ignore[reportPrivateUsage]
    ground.dispatcher.put(DrainRequested("vm-0", draining=False))
    assert not ground.scaling._is_empty("vm-0")  # pyright: ignore[reportPrivateUsage]
    assert not ground.scaling._is_empty("vm-9")  # pyright: ignore[reportPrivateUsage]


async def test_a_vm_that_the_provider_wants_is_drained_and_released(ground: Ground) -> None:
    ground.beat("vm-0")
    ground.cloud.leaving = ("vm-0",)
    await ground.scaling.turn()
    assert ground.pool.fleet.vms["vm-0"].draining
    ground.empty("vm-0")
    await ground.scaling.turn()
    assert ("release", "vm-0") in ground.cloud.calls


async def test_a_vm_that_the_provider_waits_for_is_admitted_when_its_agent_is_there(ground: Ground) -> None:
    ground.cloud.arriving = ("vm-0",)
    await ground.scaling.turn()
    assert ground.cloud.calls == []
    ground.beat("vm-0")
    with capture_logs() as logs:
        await ground.scaling.turn()
        await ground.scaling.turn()
    assert ground.cloud.calls == [("admit", "vm-0")]
    assert [log["vm_id"] for log in logs if log["event"] == "vm_admitted"] == ["vm-0"]
    assert ground.metric("actions_total", action="admit") == 1


async def test_a_provider_that_does_not_answer_is_asked_less_and_less_and_said_so_once(ground: Ground) -> None:
    ground.cloud.fault = ProviderError("no route")
    with capture_logs() as logs:
        rests = [await ground.scaling.turn() for _ in range(6)]
    assert [log["event"] for log in logs] == ["provider_unreachable"]
    assert all(0.75 * most <= rest <= most for rest, most in zip(rests, (60, 120, 240, 300, 300, 300), strict=True))
    assert (await ground.shown()).fault == "no route"
    assert ground.metric("provider_reached") == 0
    assert ground.metric("faults_total") == 6
    ground.cloud.fault = ProviderError("slow down", retry_after_s=900)
    assert await ground.scaling.turn() == 900
    ground.cloud.fault = None
    with capture_logs() as logs:
        assert await ground.scaling.turn() == 30
    assert "provider_reached" in [log["event"] for log in logs]
    assert ground.metric("provider_reached") == 1


async def test_what_the_provider_refused_is_asked_for_again(ground: Ground) -> None:
    ground.beat("vm-0")
    for number in range(5):
        ground.job(f"bot-{number}")
    ground.cloud.fails_to_grow = True
    await ground.scaling.turn()
    shown = await ground.shown()
    assert (shown.fault, shown.view.target) == ("no quota", 3)
    ground.cloud.fails_to_grow = False
    await ground.scaling.turn()
    assert ground.cloud.calls == [("grow", 3)]


async def test_a_leader_that_was_replaced_asks_for_nothing(ground: Ground, world: World) -> None:
    ground.beat("vm-0")
    for number in range(5):
        ground.job(f"bot-{number}")
    await ground.dispatcher.durable()
    await world.redis.set(world.keys.epoch, 2, ex=600)
    with pytest.raises(StaleEpochError):
        await ground.scaling.turn()
    assert ground.cloud.calls == []
    await world.redis.set(world.keys.epoch, 1, ex=600)


async def test_what_came_is_known_to_the_next_leader(ground: Ground) -> None:
    ground.beat("vm-0")
    for number in range(7):
        ground.scaling.decided(Accept(f"bot-{number}", job(), BotState.QUEUED, ground.clock.now, number))
    await ground.scaling.turn()
    ground.clock.now += 3500  # an hour later, but for the lead time
    leader = ground.next_leader()
    leader.decided(Enqueue("bot-9", 0))
    running = asyncio.ensure_future(leader.run())  # noqa: TID251 - it is cancelled below
    await wait_until(lambda: ground.cloud.calls)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert ground.cloud.calls == [("grow", 4)]  # the ceiling: nine with the headroom, at one warm browser a VM
    shown = await ground.shown()
    assert shown.view.because is Because.CEILING
    assert ground.metric("vms", count="target") is None  # it leads no longer


def test_a_time_zone_that_is_none_is_known_at_the_start(world: World) -> None:
    settings = msgspec.structs.replace(world.settings, scaling=ScalingSettings(timezone="Europe/Nowhere"))
    with pytest.raises(CannotScaleError, match=r"cannot find scaling.timezone Europe/Nowhere"):
        Manager(settings)
    assert zone_of(ScalingSettings(timezone="Europe/Berlin")).key == "Europe/Berlin"


HOOK = """
read question
echo "$question" >>"$1/asked"
case "$question" in
  *look*) echo "{\\"wanted\\": $(cat "$1/vms")}" ;;
  *grow*) echo "$question" | sed 's/[^0-9]//g' >"$1/vms" ;;
esac
"""


async def test_a_manager_that_leads_asks_a_program_for_vms(world: World, tmp_path: Path) -> None:
    (tmp_path / "vms").write_text("1")
    command = ["/bin/sh", "-c", HOOK, "hook", str(tmp_path)]
    scaling = ScalingSettings(provider="hook", command=command, every_s=1, min_vms=3)
    world.settings = msgspec.structs.replace(world.settings, scaling=scaling)
    agent = world.agent()
    async with world.leading(), agent.running():

        async def asked_for_three() -> bool:
            shown = await world.views.scaling()
            return bool(shown and shown.view and shown.view.asked == 3)

        await wait_until(asked_for_three)
    asked = [json.loads(line) for line in (tmp_path / "asked").read_text().splitlines()]
    assert {"do": "grow", "to": 3} in asked
