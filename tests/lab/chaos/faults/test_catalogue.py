"""The plan of a round: chance decides, and the seed decides chance. And what each of the rarer faults does."""

import asyncio
import os
import random
import re
import resource
import shutil
import signal
import struct
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from common.config.settings import RedisSettings
from common.jobs.job import BadJobError, JobRules, parse_job
from common.runtime.redis.client import connect
from lab.chaos.faults.catalogue import BY_NAME, FAULTS, OF_SENTINELS, Aim, Target, chosen, plan
from lab.chaos.faults.hostile_jobs import FLOOD
from lab.chaos.observers.processes import driver_of
from lab.chaos.system.machine import Need, allows, mount_small_disk, settable_clock, unmount
from lab.chaos.system.stage import LOST_AFTER_S, SILENT_AFTER_S, Process, Stage
from poolmgr.store.keys import Keys
from tests.waiting import PATIENCE_S, wait_until
from worker.chromium import processes


def test_a_seed_plans_the_same_round_again_and_another_one_another() -> None:
    first, again, other = (plan(random.Random(seed), 12, 0.6, FAULTS) for seed in ("1", "1", "2"))
    assert first == again
    assert first != other


def test_every_fault_comes_to_be_planned() -> None:
    planned = plan(random.Random("1"), 1000, 1.0, FAULTS)
    assert {blow.fault.name for blow in planned} == {fault.name for fault in FAULTS}
    assert all(blow.fault.lasts_s[0] <= blow.lasts_s <= blow.fault.lasts_s[1] for blow in planned)
    assert [blow.at_s for blow in planned] == sorted(blow.at_s for blow in planned)


def test_a_plan_may_be_narrowed_by_name_by_length_and_by_what_the_machine_allows() -> None:
    assert chosen() == list(FAULTS)
    assert {fault.name for fault in chosen("redis")} == {fault.name for fault in FAULTS if "redis" in fault.name}
    assert 0 < len(chosen(longest_s=6)) < len(FAULTS)
    watched = chosen(sentinels=True)
    assert {fault for fault in watched if fault.aim is Aim.PRIMARY} == set(OF_SENTINELS)
    assert not {fault.name for fault in watched if "redis" in fault.name or "wire" in fault.name}
    assert all(fault.lasts_s[1] <= 6 for fault in chosen(longest_s=6))
    assert {fault.needs for fault in chosen(met=[Need.OWN_CLOCK])} == {None, Need.OWN_CLOCK}


def test_no_fault_that_is_shorter_than_the_grace_explains_an_end() -> None:
    silences = re.compile("agent .*(down|frozen|cut off|black hole)")
    silencing = [fault for fault in FAULTS if silences.match(fault.name)]
    assert len(silencing) == 9
    assert {fault.lasts_s[1] < LOST_AFTER_S for fault in silencing if not fault.may_end} == {True}
    assert {fault.lasts_s[0] > LOST_AFTER_S > SILENT_AFTER_S for fault in silencing if fault.may_end} == {True}


@pytest.mark.long
async def test_a_flood_is_of_jobs_that_are_none_and_are_not_asked_for(redis_server: str, prefix: str) -> None:
    redis, keys = connect(RedisSettings(url=redis_server, timeout_s=PATIENCE_S)), Keys(prefix)
    stage = cast(Stage, SimpleNamespace(redis=redis, keys=keys))
    for _ in range(2):
        async with BY_NAME["flood of hostile jobs"].inflict(stage, Target("redis", 0, "redis")):
            pass
    jobs: list[bytes] = await cast(Any, redis).lrange(keys.jobs, 0, -1)
    await redis.aclose()
    assert len(jobs) == 2 * FLOOD
    assert jobs[:FLOOD] != jobs[FLOOD:]
    for job in jobs:
        with pytest.raises(BadJobError):
            parse_job(job, 0.0, JobRules())
    assert b"tag=" not in b"".join(jobs)
    assert b"bad-" not in b"".join(jobs)


class Scene:
    """As much of a stage as a fault touches: one agent, which is a Python that sleeps, and its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state_dir("vm-1").mkdir()
        self.seconds: list[Process] = []

    def state_dir(self, vm_id: str) -> Path:
        return self.folder / vm_id

    def clock(self, name: str) -> Path:
        return self.folder / f"{name}.clock"

    async def start_beside(self, _name: str) -> Process:
        self.seconds.append(await sleeper())
        return self.seconds[-1]


async def sleeper(*child: str) -> asyncio.subprocess.Process:
    """A Python with such a child, if any, that runs until it is killed."""
    script = "import subprocess, sys, time; child = sys.argv[1:] and subprocess.Popen(sys.argv[1:]); time.sleep(60)"
    return await asyncio.create_subprocess_exec(sys.executable, "-c", script, *child)


@asynccontextmanager
async def inflicted(name: str, scene: Scene, pid: int) -> AsyncGenerator[None]:
    async with BY_NAME[name].inflict(cast("Stage", scene), Target("vm-1", pid, "vm-1")):
        yield


async def test_agent_and_driver_die_together(tmp_path: Path) -> None:
    agent = await sleeper(sys.executable, "-c", "import time; time.sleep(60)", "run-driver")
    await wait_until(lambda: driver_of(agent.pid))
    driver = driver_of(agent.pid)
    async with inflicted("agent and driver killed", Scene(tmp_path), agent.pid):
        assert await agent.wait() == -signal.SIGKILL
    assert driver
    await wait_until(lambda: not processes.bears(driver, "run-driver"))


async def test_a_second_agent_does_not_outlast_its_fault(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    async with inflicted("agent started twice", scene, os.getpid()):
        [second] = scene.seconds
        assert second.returncode is None
    assert second.returncode == -signal.SIGKILL


async def test_a_state_folder_is_full_whatever_is_freed_and_empty_afterwards(tmp_path: Path) -> None:
    if not allows(Need.SMALL_DISK, tmp_path):
        pytest.skip(f"for want of {Need.SMALL_DISK}")
    scene = Scene(tmp_path)
    folder = scene.state_dir("vm-1")
    mount_small_disk(folder, 1)
    try:
        (folder / "old").write_bytes(bytes(1 << 16))
        async with inflicted("agent's state folder full", scene, os.getpid()):
            await wait_until(lambda: shutil.disk_usage(folder).free == 0)
            (folder / "old").unlink()
            await wait_until(lambda: shutil.disk_usage(folder).free == 0)
        assert list(folder.iterdir()) == []
        (folder / "new").write_bytes(bytes(1 << 16))
    finally:
        unmount(folder)


async def test_a_state_folder_is_read_only_for_as_long_as_the_fault_lasts(tmp_path: Path) -> None:
    if not allows(Need.FIXED_FILES, tmp_path):
        pytest.skip(f"for want of {Need.FIXED_FILES}")
    scene = Scene(tmp_path)
    note = scene.state_dir("vm-1") / "note"
    note.write_text("old")
    async with inflicted("agent's state folder read-only", scene, os.getpid()):
        with pytest.raises(PermissionError):
            note.write_text("new")
        with pytest.raises(PermissionError):
            (scene.state_dir("vm-1") / "other").mkdir()
    note.write_text("new")


async def test_descriptors_are_there_again_after_the_fault_and_one_who_is_gone_is_let_be(tmp_path: Path) -> None:
    agent, scene = await sleeper(), Scene(tmp_path)
    before = resource.prlimit(agent.pid, resource.RLIMIT_NOFILE)
    async with inflicted("agent out of file descriptors", scene, agent.pid):
        assert resource.prlimit(agent.pid, resource.RLIMIT_NOFILE)[0] <= 4
    assert resource.prlimit(agent.pid, resource.RLIMIT_NOFILE) == before
    agent.kill()
    await agent.wait()
    async with inflicted("agent out of file descriptors", scene, agent.pid):
        pass


async def test_little_memory_is_never_said_to_whom_it_is_not_meant(tmp_path: Path) -> None:
    before = available_mb()
    async with inflicted("agent sees little memory", Scene(tmp_path), os.getpid()):
        assert available_mb() > before / 2
    assert not (tmp_path / "meminfo").exists()


def available_mb() -> int:
    [line] = [line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable")]
    return int(line.split()[1]) // 1024


@pytest.mark.parametrize(
    ("name", "by_s"), [("agent's clock an hour ahead", 3600.0), ("agent's clock an hour behind", -3600.0)]
)
async def test_a_clock_is_set_and_set_right_again(tmp_path: Path, name: str, by_s: float) -> None:
    scene = Scene(tmp_path)
    settable_clock(scene.clock("vm-1"))

    def off_by() -> float:
        [seconds] = struct.unpack("d", scene.clock("vm-1").read_bytes())
        return seconds

    async with inflicted(name, scene, os.getpid()):
        assert off_by() == by_s
    assert off_by() == 0.0


def test_what_a_fault_needs_is_what_it_is_about() -> None:
    needs = {fault.name: fault.needs for fault in FAULTS if fault.needs}
    assert {name for name, need in needs.items() if need is Need.OWN_CLOCK} == {
        fault.name for fault in FAULTS if "clock" in fault.name
    }
    assert len(needs) == 7
