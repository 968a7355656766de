"""Canaries: which share of the jobs they get, and when one is taken out."""

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.wire.vocabulary import BotState, GoneCause, Reason, RefusalCause, WorkerState
from poolmgr.core import canaries, policy
from poolmgr.core.decisions import Assign, Decision, KeepVm, Retire, Warm
from poolmgr.core.events import DrainRequested
from poolmgr.core.model import Joins
from tests.core.builders import RESERVED, WARMING, Scenario, of_type, scenario

DEFAULTS: Final[dict[str, Any]] = {"min_idle": 2, "max_workers": 40, "canary_share": 0.25}


def with_canary(**settings: Any) -> Scenario:
    """A canary beside two other VMs, at min_idle."""
    sc = scenario(**DEFAULTS | settings)
    sc.fill("a", "b")
    sc.fill("canary", canary=True)
    sc.log.clear()
    return sc


def one_more(sc: Scenario, number: int, **wishes: Any) -> str:
    """A job whose bot is given to somebody, and the VM that got it."""
    sc.submit(f"bot{number}", **wishes)
    for vm_id in ("a", "b", "canary"):
        for worker_id in sc.names(WARMING, vm_id):
            sc.warmed(worker_id, vm_id)
    return sc.bot(f"bot{number}").vm_id


def end(sc: Scenario, number: int, reason: Reason) -> list[Decision]:
    """The bot ends in its attempt before it is admitted, and its browser goes; nothing more becomes of it."""
    bot = sc.bot(f"bot{number}")
    vm_id, worker_id = bot.vm_id, bot.worker_id
    decided = sc.ended(f"bot{number}", reason)
    return [*decided, *sc.gone(worker_id, vm_id=vm_id)]


def some_joins(sc: Scenario, failing: Reason = Reason.INTERNAL_ERROR, number: int = 400) -> list[KeepVm]:
    """Jobs one after the other, of which those of the canary fail. Returns how the canary was taken out."""
    for n in range(number):
        if one_more(sc, n) != "canary":
            sc.moved(f"bot{n}", BotState.IN_MEETING)
            end(sc, n, Reason.MEETING_ENDED)
        elif out := [kept for kept in of_type(end(sc, n, failing), KeepVm) if kept.is_taken_out]:
            return out
    return []


# Their share


def test_a_canary_gets_its_share_of_the_jobs() -> None:
    sc = with_canary()
    given_to = [one_more(sc, n) for n in range(40)]
    assert given_to.count("canary") == 9
    assert given_to[:4].count("canary") == 0, "its turn has to come"
    assert [n for n, vm_id in enumerate(given_to) if vm_id == "canary"] == list(range(4, 40, 4))


def test_a_share_of_none_is_none() -> None:
    sc = with_canary(canary_share=0.0)
    assert "canary" not in [one_more(sc, n) for n in range(30)]


def test_a_canary_does_not_help_out_however_many_wait() -> None:
    sc = with_canary(max_workers=2)
    sc.submit(*(f"bot{n}" for n in range(9)))
    given_to = [step.vm_id for step in of_type(sc.log, Assign)]
    assert (given_to.count("canary"), len(given_to)) == (1, 5)
    assert [warm.vm_id for warm in of_type(sc.log, Warm)] == [], "its browsers are at min_idle, the others' VMs full"


def test_where_only_canaries_take_work_they_are_vms_like_others() -> None:
    sc = with_canary(min_idle=0)
    sc.step(DrainRequested("a"))
    sc.step(DrainRequested("b"))
    sc.submit("bot0", "bot1")
    assert {warm.vm_id for warm in of_type(sc.log, Warm)} == {"canary"}
    for worker_id in sc.names(WARMING, "canary"):
        sc.warmed(worker_id, "canary")
    assert [step.vm_id for step in of_type(sc.log, Assign)] == ["canary", "canary"]


def test_a_job_that_only_a_canary_can_serve_is_given_to_it() -> None:
    sc = with_canary()
    sc.beat("canary", labels={"region": "eu"})
    assert one_more(sc, 1, requires={"region": "eu"}) == "canary"
    assert one_more(sc, 2) != "canary"


def test_scheduled_bots_are_shared_when_a_worker_is_put_aside_for_them() -> None:
    sc = with_canary(min_idle=4)
    sc.submit(*(f"bot{n}" for n in range(8)), join_in=100)
    sc.wait(50)
    assert len(sc.names(RESERVED, "canary")) == 1
    sc.wait(50)
    assert [step.vm_id for step in of_type(sc.log, Assign)].count("canary") == 1


def test_a_vm_that_is_a_canary_no_more_is_one_of_the_others() -> None:
    sc = with_canary()
    sc.beat("canary", canary=False)
    assert [one_more(sc, n) for n in range(12)].count("canary") == 4


# When it is taken out


@pytest.mark.parametrize("reason", [Reason.INTERNAL_ERROR, Reason.UI_ELEMENT_NOT_FOUND, Reason.BROWSER_CRASHED])
def test_a_canary_whose_joins_fail_by_our_doing_is_drained(reason: Reason) -> None:
    sc = with_canary(max_attempts=1)
    (out,) = some_joins(sc, reason)
    assert (out.vm_id, out.draining) == ("canary", True)
    assert out.out == "17 of 17 joins failed, and 0 of 52 on VMs that are no canaries"
    assert not sc.names(WorkerState.IDLE, "canary")
    assert {step.vm_id for step in of_type(sc.log, Retire)} == {"canary"}
    assert "canary" not in [one_more(sc, n) for n in range(1000, 1020)]


@pytest.mark.parametrize(
    "reason",
    [
        *(Reason.REQUEST_DENIED, Reason.PAGE_LOAD_FAILED),
        *(
            pytest.param(reason, marks=pytest.mark.long)
            for reason in (
                *(Reason.WAITING_ROOM_TIMEOUT, Reason.PASSCODE_WRONG, Reason.MEETING_FULL),
                *(Reason.SHUTDOWN, Reason.CUT_OFF),
            )
        ),
    ],
)
def test_what_is_not_our_doing_or_not_the_browsers_does_not_count(reason: Reason) -> None:
    sc = with_canary(max_attempts=1)
    assert some_joins(sc, reason, 100) == []
    assert sc.vm("canary").joins == Joins()


def test_a_bot_that_was_let_in_joined_whatever_becomes_of_it() -> None:
    sc = with_canary(max_attempts=1)
    for n in range(5):
        one_more(sc, n)
    sc.moved("bot4", BotState.IN_MEETING)
    end(sc, 4, Reason.INTERNAL_ERROR)
    assert sc.vm("canary").joins == Joins(ok=1)


def test_a_bot_that_was_asked_to_leave_failed_at_nothing() -> None:
    sc = with_canary(max_attempts=1)
    for n in range(5):
        one_more(sc, n)
    sc.moved("bot4", BotState.LEAVING)
    end(sc, 4, Reason.INTERNAL_ERROR)
    assert sc.vm("canary").joins == Joins()


def test_a_browser_that_is_gone_before_it_joins_is_a_join_that_failed_and_one_that_has_no_memory_is_not() -> None:
    sc = with_canary()
    for n in range(9):
        one_more(sc, n)
    sc.gone(sc.bot("bot4").worker_id, GoneCause.CRASHED, "canary")
    assert sc.vm("canary").joins == Joins(failed=1)
    sc.refused("bot8", RefusalCause.LOW_MEMORY)
    assert sc.vm("canary").joins == Joins(failed=1)


def test_it_is_drained_once_and_comes_back_when_somebody_says_so() -> None:
    sc = with_canary(max_attempts=1)
    one_more(sc, 1000)
    some_joins(sc)
    kept = of_type(sc.step(DrainRequested("canary", draining=False)), KeepVm)
    assert [(vm.draining, vm.out, vm.joins_ok, vm.joins_failed) for vm in kept] == [(False, "", 0, 0)]
    sc.fill("canary")
    assert "canary" in [one_more(sc, n) for n in range(2000, 2010)]


def test_a_canary_that_drains_already_is_not_taken_out() -> None:
    sc = with_canary(max_attempts=1)
    sc.pool.fleet.vms["canary"].joins = Joins(0, 20)
    for n in range(60):
        one_more(sc, n)
        if sc.bot(f"bot{n}").vm_id != "canary":
            sc.moved(f"bot{n}", BotState.IN_MEETING)
    sc.step(DrainRequested("canary"))
    sc.vm("canary").joins = Joins(0, 20)
    on_canary = next(bot_id for bot_id, bot in sc.pool.bots.items() if bot.vm_id == "canary")
    assert not [kept for kept in of_type(sc.ended(on_canary, Reason.INTERNAL_ERROR), KeepVm) if kept.is_taken_out]


def test_workers_that_were_put_aside_there_are_put_aside_elsewhere() -> None:
    sc = with_canary(max_attempts=1, min_idle=4)
    sc.submit(*(f"later{n}" for n in range(6)), join_in=5000)
    sc.wait(4950)
    assert sc.names(RESERVED, "canary")
    some_joins(sc)
    assert sc.names(RESERVED, "canary") == []
    assert all(sc.bot(f"later{n}").vm_id in ("a", "b") for n in range(6))


def test_the_next_leader_knows_how_a_canary_fared_and_that_it_is_out() -> None:
    sc = with_canary(max_attempts=1)
    for n in range(30):
        if one_more(sc, n) == "canary":
            end(sc, n, Reason.INTERNAL_ERROR)
    sc.fail_over()
    for vm_id in ("a", "b", "canary"):
        sc.beat(vm_id)
    assert (sc.vm("canary").canary, sc.vm("canary").joins) == (True, Joins(failed=7))
    sc.vm("canary").draining, sc.vm("canary").out = True, "why"
    sc.step(DrainRequested("a"))
    assert sc.vm("canary").out == "why"


def test_only_while_there_are_canaries_the_joins_of_others_are_counted() -> None:
    sc = scenario(min_idle=1)
    sc.fill("a")
    sc.submit("bot")
    sc.moved("bot", BotState.IN_MEETING)
    sc.fill("canary", canary=True)
    assert sc.pool.others_joins == Joins()


# The rule


@pytest.mark.parametrize(
    ("canary", "others", "out"),
    [
        (Joins(0, 10), Joins(49, 1), True),
        (Joins(0, 9), Joins(500, 0), False),  # too few of its own
        (Joins(0, 10), Joins(49, 0), False),  # too few of the others
        (Joins(97, 3), Joins(2000, 0), False),  # too few failures
        (Joins(96, 4), Joins(2000, 0), True),
        (Joins(8, 4), Joins(200, 100), False),  # as the others
        (Joins(20, 10), Joins(440, 40), True),
        (Joins(100, 20), Joins(1800, 200), False),
        (Joins(100, 0), Joins(0, 100), False),
    ],
)
def test_a_canary_stands_out_by_numbers_that_are_not_by_chance(canary: Joins, others: Joins, out: bool) -> None:
    assert policy.stands_out(canary, others) is out


def test_the_chance_is_that_of_fishers_exact_test() -> None:
    """The lady tasting tea (Fisher, The Design of Experiments, 1935): three of four right, and all four."""
    assert policy.chance_of(Joins(ok=1, failed=3), Joins(ok=3, failed=1)) == pytest.approx(17 / 70)
    assert policy.chance_of(Joins(ok=0, failed=4), Joins(ok=4, failed=0)) == pytest.approx(1 / 70)


_JOINS: Final = st.builds(Joins, st.integers(0, 300), st.integers(0, 300))


@given(_JOINS, _JOINS)
def test_a_chance_is_one_and_falls_with_each_further_failure(canary: Joins, others: Joins) -> None:
    chance = policy.chance_of(canary, others)
    assert 0 <= chance <= 1
    if canary.ok and others.failed:
        worse = policy.chance_of(Joins(canary.ok - 1, canary.failed + 1), Joins(others.ok + 1, others.failed - 1))
        assert worse <= chance + 1e-9
    if canary.failed == 0:
        assert chance == pytest.approx(1)


def test_joins_before_those_that_count_in_full_count_half() -> None:
    assert policy.with_one_more(Joins(6, 3), Joins(failed=1), 10) == Joins(6, 4)
    assert policy.with_one_more(Joins(6, 4), Joins(ok=1), 10) == Joins(4, 2)


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 9))
def test_what_is_kept_of_joins_is_bounded(came: list[bool], kept: int) -> None:
    joins = Joins()
    for ok in came:
        joins = policy.with_one_more(joins, Joins(ok=1) if ok else Joins(failed=1), kept)
        assert joins.total <= kept + 2
        assert (joins.ok if ok else joins.failed) >= 1


@given(st.sampled_from([0.0, 0.01, 0.1, 0.3, 0.5]), st.lists(st.booleans(), max_size=60))
def test_no_more_than_their_share_is_given_to_canaries(share: float, stays: list[bool]) -> None:
    sc = with_canary(canary_share=share)
    on_canary = 0
    for n, stay in enumerate(stays):
        on_canary += one_more(sc, n) == "canary"
        assert on_canary <= share * n + 1e-6
        if not stay:
            end(sc, n, Reason.MEETING_ENDED)


def test_a_canary_that_has_just_become_silent_counts_as_none() -> None:
    sc = with_canary()
    pool = sc.pool._state  # pyright: ignore[reportPrivateUsage]
    canaries.joined(pool, "a")
    assert sc.pool.others_joins == Joins(ok=1)
    sc.vm("canary").silent = True
    pool.touch(sc.vm("canary"))
    canaries.joined(pool, "a")
    assert sc.pool.others_joins == Joins(ok=1)
