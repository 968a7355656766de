"""Core and provider together, over a course of looks, while the cloud refuses, loses answers, is late and takes VMs.

Whatever happens, no VM with a call ends but one that the cloud took by itself; and when the cloud is well again, there
are as many VMs as are wanted.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Protocol

import pytest

from common.config.settings import ScalingSettings
from poolmgr.providers.aws import Aws
from poolmgr.providers.gcp import Gcp
from poolmgr.providers.provider import Provider, ProviderError
from poolmgr.scaling.need import Because, Need
from poolmgr.scaling.steps import (
    Action,
    Admit,
    Drain,
    GiveBack,
    Group,
    Grow,
    Look,
    Release,
    Seen,
    Standing,
    Undrain,
    carried_out,
    step,
)
from tests.providers.amazon import HOOK, Amazon, refused, throttled
from tests.providers.google import PROJECT, Google
from tests.providers.google import refused as refused_by_google

SETTINGS = ScalingSettings(min_vms=1, max_vms=6, lead_time_s=300, cool_down_s=900)


class Cloud(Protocol):
    async def vms(self) -> list[str]: ...

    async def trouble(self, chance: random.Random) -> None:
        """From now on something is wrong, or nothing."""
        ...

    def well(self) -> None: ...


class Pool:
    """The VMs as the pool sees them, whose bots come and go by chance."""

    def __init__(self, cloud: Cloud, provider: Provider, chance: random.Random) -> None:
        self._cloud = cloud
        self._provider = provider
        self._chance = chance
        self.fleet = dict[str, Seen]()
        self.standing = Standing()
        self.now = 10_000.0
        self.faults = 0

    async def agents_are_where_vms_are(self) -> None:
        vms = await self._cloud.vms()
        for vm_id in set(self.fleet) - set(vms):
            assert not self.fleet.pop(vm_id).bots, f"{vm_id} ended with a call"
        for vm_id in vms:
            self.fleet.setdefault(vm_id, Seen(vm_id, 0))

    def bots_come_and_go(self) -> None:
        for vm_id, vm in self.fleet.items():
            bots = self._chance.randint(0, vm.bots if vm.draining else 2)
            self.fleet[vm_id] = vm._replace(bots=bots)

    def bots_go(self) -> None:
        self.fleet = {vm_id: vm._replace(bots=0) for vm_id, vm in self.fleet.items()}

    async def look(self, need: int) -> Group | None:
        """None: the provider failed."""
        try:
            group = await self._provider.look()
            seen = Look(self.now, 0, Need(need, Because.ROOM), [*self.fleet.values()], group)
            outcome = step(self.standing, seen, SETTINGS)
            self.standing, asked = outcome.standing, outcome.view.asked
            for action in outcome.actions:
                await self._do(action, asked)
                self.standing = carried_out(self.standing, action, asked, self.now)
                asked = self.standing.asked or asked
        except ProviderError:
            self.faults += 1
            return None
        return group

    async def _do(self, action: Action, asked: int) -> None:
        match action:
            case Grow(to=to):
                await self._provider.grow(to)
            case Drain(vm_id=vm_id) | Undrain(vm_id=vm_id):
                self.fleet[vm_id] = self.fleet[vm_id]._replace(draining=isinstance(action, Drain))
            case GiveBack(vm_id=vm_id):
                await self._provider.give_back(vm_id, asked - 1)
            case Release(vm_id=vm_id):
                await self._provider.release(vm_id)
            case Admit(vm_id=vm_id):
                await self._provider.admit(vm_id)


async def course(cloud: Cloud, provider: Provider, seed: int, looks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    pool = Pool(cloud, provider, chance)
    loop = asyncio.get_running_loop()
    began = pool.now
    monkeypatch.setattr(loop, "time", lambda: time.monotonic() + pool.now - began)  # the provider's clock, too
    for _ in range(looks):
        await pool.agents_are_where_vms_are()
        pool.bots_come_and_go()
        await cloud.trouble(chance)
        pool.now += chance.choice((30.0, 130.0, 1000.0))
        await pool.look(chance.randint(1, 6))
    cloud.well()
    pool.bots_go()
    group = None
    for _ in range(12):
        await pool.agents_are_where_vms_are()
        pool.now += 1000
        group = await pool.look(2)
    assert len(await cloud.vms()) == 2
    assert group is not None
    assert group.wanted == 2
    assert not pool.standing.draining


class TroubledAmazon(Amazon):
    async def vms(self) -> list[str]:
        return await self.instances()

    async def trouble(self, chance: random.Random) -> None:
        self.well()
        actions = ("DescribeAutoScalingGroups", "SetDesiredCapacity", "TerminateInstanceInAutoScalingGroup")
        one = chance.choice((*actions, "CompleteLifecycleAction"))
        wrong: list[Callable[[], Awaitable[None] | None]] = [
            self.well,
            self.hold_back,
            self._take,
            lambda: self.loses.update({one: 1}),
            lambda: self.answers.update({one: [throttled()]}),
            lambda: self.answers.update({one: [refused("ScalingActivityInProgress", "wait")]}),
            lambda: self.answers.update({one: [refused("InternalFailure", "sorry", 500)]}),
        ]
        if waits := chance.choice(wrong)():
            await waits

    async def _take(self) -> None:
        here = [vm for vm in await self.instances() if vm not in self.states]
        if len(here) in (1, 2, 3):
            await self.take(here[0])

    def well(self) -> None:
        self.loses.clear()
        self.answers.clear()
        self.tell_the_truth()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
async def test_amazon(seed: int, moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    amazon = TroubledAmazon(moto, f"course-{seed}-{time.monotonic_ns()}")
    amazon.hooks = True
    async with amazon.serving():
        await amazon.make(1)
        named: dict[str, Any] = {"aws_group": amazon.group, "aws_region": "eu-west-1"}
        aws = Aws(ScalingSettings(**named, aws_endpoint_url=amazon.url, aws_terminating_hook=HOOK, timeout_s=60))
        await course(amazon, aws, seed, 14, monkeypatch)
        await aws.close()


class TroubledGoogle(Google):
    async def vms(self) -> list[str]:
        return [name for name, vm in self.vms_by_name.items() if vm["currentAction"] == "NONE"]

    async def trouble(self, chance: random.Random) -> None:
        self.well()
        verb = chance.choice(("get", "list", "resize", "delete"))
        wrong: list[Callable[[], None]] = [
            self.well,
            self.hold_back,
            lambda: self.loses.update({verb: 1}),
            lambda: setattr(self, "ends_later", True),
            lambda: self.answers.update({verb: [refused_by_google(429, "Rate Limit", "rateLimitExceeded")]}),
            lambda: self.answers.update({verb: [refused_by_google(403, "Quota", "quotaExceeded")]}),
            lambda: self.answers.update({verb: [refused_by_google(500, "sorry", "internalError")]}),
        ]
        chance.choice(wrong)()

    def well(self) -> None:
        self.loses.clear()
        self.ends_later = False
        self.answers.clear()
        self.tell_the_truth()
        self.end_operations()


@pytest.fixture
async def google() -> AsyncGenerator[TroubledGoogle]:
    google = TroubledGoogle()
    google.resize(1)
    async with google.serving():
        yield google


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 6))])
async def test_google(seed: int, google: TroubledGoogle, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ScalingSettings(
        gcp_group="bots", gcp_location="europe-west1-b", gcp_project=PROJECT, gcp_api_url=google.url, timeout_s=60
    )
    gcp = Gcp(settings, {"GCE_METADATA_HOST": f"127.0.0.1:{google.port}"})
    await course(google, gcp, seed, 20, monkeypatch)
    await gcp.close()
    assert google.chosen == []
