"""The faults against the core and the scripts, short; `./dev chaos --core` is the long one. It has to find faults of
ours, too: each is put back here, and is found.
"""

import pytest

from common.wire.messages import Heartbeat
from common.wire.vocabulary import GoneCause
from lab.chaos.core.suite import CoreSummary, report_core, run_core
from poolmgr.core import attempts, vms
from poolmgr.core.model import Vm
from poolmgr.core.state import PoolState
from poolmgr.store.leader import inbox
from tests.store.model import break_script

EPISODES = 60
"""Within so many an error of ours is found; most of them in one of the first."""


def say(line: str) -> None:
    print(line)  # which pytest shows when the test fails


async def found_in(first: int) -> CoreSummary:
    """The first episode with a violation, from `first` on."""
    for seed in range(first, first + EPISODES):
        summary = await run_core(seed, 0, say, episodes=1)
        if summary.broken:
            return summary
    raise AssertionError("nothing was found")


async def test_faults_against_the_core_and_the_scripts_break_no_promise() -> None:
    summary = await run_core(1, 60, say)
    print("\n".join(report_core(summary)))
    assert not summary.violations
    assert summary.faults.total() >= 60
    assert len(summary.faults) > 20
    assert summary.stale_turns, "leaders that had been replaced tried to write"


@pytest.mark.long
async def test_an_episode_is_the_same_again() -> None:
    first, second = [await run_core(5, 0, say, episodes=1) for _ in range(2)]
    assert (first.faults, first.reasons, first.bots) == (second.faults, second.reasons, second.bots)


@pytest.mark.long
async def test_an_assignment_that_is_taken_back_though_it_was_claimed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    break_script(monkeypatch, "revoke", " or tonumber(claimed) == attempt", "")
    assert {"admitted again", "twice in a meeting"} & set((await found_in(29)).violations)


@pytest.mark.long
async def test_events_that_are_written_twice_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    break_script(monkeypatch, "write", "elseif mine > newest then", "else")
    assert "event doubled" in (await found_in(8)).violations


async def test_warm_ups_beyond_the_limit_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As they were ordered from agents that had lost their folders: see tests/core/test_vms.py."""
    match = vms._match_workers  # pyright: ignore[reportPrivateUsage]

    def forget_what_warms(pool: PoolState, vm: Vm, beat: Heartbeat, *, is_new_session: bool) -> None:
        if is_new_session:
            for worker in [worker for worker in vm.workers.values() if worker.worker_id not in beat.workers]:
                attempts.worker_gone(pool, vm, worker, GoneCause.MISSING)
        match(pool, vm, beat, is_new_session=is_new_session)

    monkeypatch.setattr(vms, "_match_workers", forget_what_warms)
    assert "limit broken" in (await found_in(37)).violations


@pytest.mark.long
async def test_what_a_replaced_leader_took_from_its_successor_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def read_new_only(self: inbox.Stream, most: int, timeout_s: float) -> list[inbox.Entry]:
        if self._read_new and self._position == "0":  # pyright: ignore[reportPrivateUsage]
            self._position = ">"  # pyright: ignore[reportPrivateUsage]
        return await read(self, most, timeout_s)

    async def skip(_: inbox.Stream, __: inbox.Entry) -> list[inbox.Entry]:
        return []

    read = inbox.Stream.read
    monkeypatch.setattr(inbox.Stream, "read", read_new_only)
    monkeypatch.setattr(inbox.Stream, "skipped", skip)
    assert "event left" in (await found_in(98)).violations
