"""Which fleets are worth a try, and what they cost."""

import math
from pathlib import Path
from typing import Final

import msgspec
import pytest

from common.config.settings import PoolSettings
from lab.bench.__main__ import LATEST
from lab.bench.report import from_json
from poolmgr.core.load import JobKind
from poolmgr.simulation.arrivals import Arrival
from poolmgr.simulation.cost import AGENT_MB, IN_CALL_MB, Mix, Trial, bots_borne, cost, mix, trials, vms_needed
from poolmgr.simulation.fleet import FleetModel
from tests.simulation.test_run import outcome_of

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "simulation.md"


@pytest.mark.parametrize(
    ("busy_peak", "min_idle", "max_workers", "needed"),
    [
        (0, 5, 12, 1),
        (7, 5, 12, 1),
        (8, 5, 12, 2),
        (36, 0, 12, 3),
        (3, 4, 4, 3),  # min_idle leaves no place
    ],
)
def test_so_many_vms_hold_the_busiest_moment(busy_peak: int, min_idle: int, max_workers: int, needed: int) -> None:
    assert vms_needed(busy_peak, PoolSettings(min_idle=min_idle, max_workers=max_workers)) == needed


def test_one_thing_is_changed_at_a_time_on_as_many_vms_as_it_needs() -> None:
    pool = PoolSettings(min_idle=5, max_workers=12, idle_ttl_s=900)
    tried = trials(20, pool, busy_peak=70)
    assert [(trial.change, trial.vms) for trial in tried] == [
        ("fewer VMs", 10),
        ("min_idle 4", 9),
        ("idle_ttl_s 450", 10),
        ("max_workers 16", 7),
    ]
    assert [trial.settings.min_idle for trial in tried] == [5, 4, 5, 5]
    assert [trial.settings.idle_ttl_s for trial in tried] == [900, 900, 450, 900]


def test_no_more_vms_than_there_are_and_no_fewer_browsers_than_none() -> None:
    tried = trials(2, PoolSettings(min_idle=0), busy_peak=99)
    assert [(trial.change, trial.vms) for trial in tried] == [("idle_ttl_s 450", 2), ("max_workers 16", 2)]


def test_a_day_costs_its_vms_whatever_is_on_them() -> None:
    """Two VMs for two hours: one bot for one of them, three browsers kept warm."""
    pool = PoolSettings(min_idle=3, max_workers=8, max_age_s=1e6)
    outcome = outcome_of(pool, [Arrival(100.0, 3600.0)], hours=2, model=FleetModel(vms=2))
    found = cost(Trial("as it is", 2, pool), outcome, 2.0, 0.25, 1024, Mix(0.14, 0.0))
    assert outcome.busy_peak == 1
    assert found.per_day == 12.0
    assert found.busy_share == pytest.approx(1 / 32, abs=0.001)
    assert found.idle_share == pytest.approx(12 / 32, abs=0.001)
    assert found.vm_memory_mb == 1024 + AGENT_MB + 8 * IN_CALL_MB
    assert found.vm_processors == round(8 * 0.14 / pool.cpu_limit, 2)


def test_what_is_recorded_takes_memory_and_processors_of_every_place() -> None:
    pool = PoolSettings(
        max_workers=10, cpu_limit=0.8, listens_cpu_share=0.1, sound_cpu_share=0.2, picture_cpu_share=0.4,
        sound_memory_mb=30, picture_memory_mb=70,
    )  # fmt: skip
    kinds = (JobKind.LISTENS, JobKind.SOUND, JobKind.SOUND, JobKind.PICTURE)
    assert mix(kinds, pool, 0) == pytest.approx((0.225, 32.5))
    mixed = mix(kinds, pool, 80)
    assert mixed == pytest.approx((0.225, 52.5))
    outcome = outcome_of(pool, [Arrival(100.0, 60.0)], hours=1, model=FleetModel(vms=1))
    found = cost(Trial("as it is", 1, pool), outcome, 1.0, 1.0, 1000, mixed)
    assert found.vm_memory_mb == 1000 + AGENT_MB + 10 * IN_CALL_MB + 525
    assert found.vm_processors == 2.81
    unlimited = msgspec.structs.replace(pool, cpu_limit=0.0)
    assert cost(Trial("as it is", 1, unlimited), outcome, 1.0, 1.0, 1000, mixed).vm_processors == 2.25


def test_a_vm_bears_no_more_than_its_processors_do() -> None:
    pool = PoolSettings(min_idle=2, max_workers=12, cpu_limit=0.9)
    heavy = Mix(0.3, 0.0)
    assert bots_borne(2.0, heavy, pool) == pytest.approx(6.0)
    assert bots_borne(0.0, heavy, pool) == math.inf
    assert bots_borne(2.0, heavy, msgspec.structs.replace(pool, cpu_limit=0.0)) == math.inf
    assert vms_needed(36, pool) == 4
    assert vms_needed(36, pool, borne=6.0) == 6
    tried = trials(20, pool, busy_peak=36, borne=6.0)
    assert [(trial.change, trial.vms) for trial in tried] == [
        ("fewer VMs", 6),
        ("min_idle 1", 6),
        ("idle_ttl_s 450", 6),
    ], "more places than the processors bear are not tried"


class Measured:
    """The latest kept results, by row, name and unit."""

    def __init__(self) -> None:
        self._p50s = {
            (measurement.row, summary.name, summary.unit): summary.p50
            for measurement in from_json(LATEST.read_bytes()).measurements
            for summary in (measurement.subject, *measurement.beside)
            if summary
        }
        self.agent_mb = self._p50s["memory", "the agent and its driver, one for all", "MB"]
        self.idle_mb = self._p50s["memory", "one worker: its Chromium", "MB"]
        self.lobby_mb = self._p50s["lobby", "one worker: its Chromium", "MB"]
        self.call_mb = self._larger("MB")
        self.call_percent = self._larger("% of a core")
        self.agent_percent = self._p50s["calls", "agent and driver, one for all", "% of a core"]

    def _larger(self, unit: str) -> float:
        return max(self._p50s["calls", "one bot: its Chromium", unit], self._p50s["capture", "records nothing", unit])


def test_the_figures_are_those_of_the_latest_measurements() -> None:
    measured = Measured()
    assert (round(measured.agent_mb), round(measured.call_mb)) == (AGENT_MB, IN_CALL_MB)


def test_the_table_of_what_a_vm_holds_follows_from_the_latest_measurements() -> None:
    told = " ".join(DOCUMENT.read_text().split())
    measured = Measured()
    a_worker_mb = [round(each) for each in (measured.idle_mb, measured.lobby_mb, measured.call_mb)]
    idle, lobby, call = a_worker_mb
    assert f"{idle} MB (PSS) a browser that stands idle" in told
    assert f"{lobby} MB in a lobby, {call} in a call, and {AGENT_MB} MB once for the agent" in told
    assert f"{measured.call_percent / 100:.3f} processors a bot in a call" in told
    assert f"agent and driver of eight {measured.agent_percent / 100:.3f}" in told
    for gigabytes in (8, 16, 32):
        held = [(gigabytes * 1024 - 1024 - AGENT_MB) // each for each in a_worker_mb]
        processors = held[2] * (measured.call_percent + measured.agent_percent / 8) / 100
        assert f"| {gigabytes} GB | {' | '.join(map(str, held))} | {processors:.1f} |" in told
