"""A simulated day is the real pool's: its invariants hold, no job is lost, and simple days come out as reckoned."""

import sys
from collections.abc import Sequence
from itertools import pairwise
from random import Random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.config.settings import PoolSettings
from common.wire.vocabulary import WorkerState
from poolmgr.core.invariants import broken_invariants
from poolmgr.simulation.arrivals import Arrival, Habits, calendar, poisson, recorded, requiring
from poolmgr.simulation.fleet import FleetModel, Labelled
from poolmgr.simulation.report import Outcome
from poolmgr.simulation.run import Simulation
from tests.examples import examples

HABITS = Habits(stay_s=1200.0)
SMALL_DAY = calendar(250, 24, HABITS, Random(1))


FLEET = FleetModel(vms=4)


def simulation(
    pool: PoolSettings, arrivals: Sequence[Arrival], hours: float = 24, model: FleetModel = FLEET
) -> Simulation:
    return Simulation(pool, model, arrivals, hours, Random(7))


def outcome_of(
    pool: PoolSettings, arrivals: Sequence[Arrival], hours: float = 24, model: FleetModel = FLEET
) -> Outcome:
    run = simulation(pool, arrivals, hours, model)
    run.advance(hours)
    return run.outcome()


def test_a_canary_that_is_like_the_others_stays_and_gets_its_share() -> None:
    model = FleetModel(vms=4, canaries=1, failing_joins=0.1, canarys_failing_joins=0.1)
    outcome = outcome_of(PoolSettings(canary_share=0.1), SMALL_DAY, model=model)
    assert outcome.taken_out == ()
    assert outcome.served == len(SMALL_DAY)
    assert 0.05 < outcome.canary_jobs / outcome.served <= 0.1


def test_a_canary_whose_joins_fail_is_taken_out_soon() -> None:
    model = FleetModel(vms=4, canaries=1, failing_joins=0.02, canarys_failing_joins=1.0)
    outcome = outcome_of(PoolSettings(canary_share=0.2), SMALL_DAY, model=model)
    (out,) = outcome.taken_out
    assert (out.vm_id, out.why.split(" joins")[0]) == ("vm-0", "13 of 13")
    assert outcome.canary_jobs <= 14


@pytest.mark.long
def test_jobs_with_labels_go_to_vms_that_have_them_and_wait_for_those() -> None:
    labels = frozenset({("region", "eu")})
    arrivals = requiring(calendar(2000, 24, HABITS, Random(1)), [(labels, 0.5)], Random(2))
    assert 0.4 < sum(bool(arrival.requires) for arrival in arrivals) / len(arrivals) < 0.6
    run = simulation(PoolSettings(), arrivals, model=FleetModel(vms=4, labelled=(Labelled(labels, 1),)))
    run.advance(24)
    assert {vm.vm_id for vm in run.pool.fleet if vm.labels} == {"vm-3"}
    free, bound = run.outcome().required
    assert (free.labels, bound.labels) == ("", "region=eu")
    assert free.warm_hits / free.served > bound.warm_hits / bound.served
    assert (bound.wait_p99_s or 0.0) > (free.wait_p99_s or 0.0)


def three_hours(jobs_per_hour: float, ahead_s: float, seed: int) -> list[Arrival]:
    return poisson(jobs_per_hour, 3, Habits(900, ahead_s), Random(seed))


pools = st.builds(
    PoolSettings,
    min_idle=st.integers(0, 4),
    max_workers=st.integers(4, 6),
    idle_ttl_s=st.floats(1, 3600),
    max_age_s=st.floats(600, 20_000),
    warmups_at_once=st.integers(1, 3),
    queue_timeout_s=st.floats(5, 1800),
    claim_timeout_s=st.sampled_from([0.01, 15.0]),
)
models = st.builds(
    FleetModel, vms=st.integers(1, 4), warmup_s=st.floats(0.1, 50), failing_warmups=st.sampled_from([0.0, 0.2, 1.0])
)
traffic = st.builds(three_hours, st.floats(1, 60), st.sampled_from([0.0, 30.0, 600.0]), st.integers(0, 1000))


@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow])
@given(pools, models, traffic)
def test_the_pools_invariants_hold_and_no_job_is_lost(
    pool: PoolSettings, model: FleetModel, arrivals: list[Arrival]
) -> None:
    run = simulation(pool, arrivals, hours=3, model=model)
    for minute in range(181):
        run.advance(minute / 60)
        assert broken_invariants(run.pool) == []
    outcome = run.outcome()
    assert outcome.jobs == len(arrivals)
    assert outcome.served + outcome.never_served + outcome.still_waiting == outcome.jobs
    assert outcome.still_waiting == len(run.pool.queue)
    assert outcome.warm_hits <= outcome.served
    assert all(len(vm.workers) <= pool.max_workers for vm in run.pool.fleet)


def test_the_same_seed_gives_the_same_outcome_however_it_is_cut() -> None:
    pool = PoolSettings(min_idle=1)
    whole = simulation(pool, SMALL_DAY)
    whole.advance(24)
    pieces = simulation(pool, SMALL_DAY)
    for piece in range(24 * 7 + 1):
        pieces.advance(piece / 7)
    # Only sums of floats may differ, in their last digits, which are rounded off.
    assert msgspec.json.encode(whole.outcome()) == msgspec.json.encode(pieces.outcome())


@settings(max_examples=examples(20))
@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 1000))
def test_every_job_is_a_hit_when_there_are_no_more_jobs_than_idle_browsers(vms: int, min_idle: int, seed: int) -> None:
    """Each takes one browser, and a browser that is too old goes only when its replacement has come."""
    chance = Random(seed)
    arrivals = sorted(Arrival(chance.random() * 7200, 600.0) for _ in range(vms * min_idle))
    pool = PoolSettings(min_idle=min_idle, max_workers=12)
    outcome = outcome_of(pool, arrivals, hours=2, model=FleetModel(vms, warmup_s=20))
    assert outcome.warm_hits == outcome.jobs == len(arrivals)
    assert outcome.wait_max_s == 0.0


@pytest.mark.parametrize("vms", [2, *(pytest.param(vms, marks=pytest.mark.long) for vms in (4, 8))])
def test_more_idle_browsers_do_not_make_more_jobs_wait(vms: int) -> None:
    """Up to one job in a hundred: warm-ups are drawn in the order in which they are ordered, and that changes."""
    bursts = calendar(100 * vms, 24, HABITS, Random(3), jitter_s=2)
    rates = [
        outcome_of(PoolSettings(min_idle=n), bursts, model=FleetModel(vms)).warm_hit_rate or 0.0
        for n in (0, 1, 2, 4, 8)
    ]
    assert all(more >= fewer - 0.01 for fewer, more in pairwise(rates))
    assert rates[0] == 0.0
    assert rates[-1] > rates[1]


def test_without_idle_browsers_every_job_waits_for_one_warm_up() -> None:
    arrivals = [Arrival(600.0 * n, 60.0) for n in range(12)]
    outcome = outcome_of(PoolSettings(min_idle=0), arrivals, hours=2, model=FleetModel(2, warmup_s=5.0))
    assert (outcome.warm_hits, outcome.served, outcome.warmups) == (0, 12, 12)
    assert 2 < (outcome.wait_p50_s or 0) < 10
    assert outcome.idle_worker_h == 0.0


def test_jobs_handed_in_ahead_find_a_browser_put_aside() -> None:
    ahead = [arrival._replace(ahead_s=600.0) for arrival in SMALL_DAY]
    pool = PoolSettings(min_idle=0)
    assert outcome_of(pool, ahead).warm_hits == len(ahead)
    assert outcome_of(pool, SMALL_DAY).warm_hits == 0


def test_a_full_fleet_turns_jobs_away_after_the_time_that_is_set() -> None:
    arrivals = [Arrival(10.0, 7200.0), Arrival(20.0, 60.0), Arrival(3500.0, 60.0)]
    pool = PoolSettings(min_idle=1, max_workers=1, queue_timeout_s=300)
    outcome = outcome_of(pool, arrivals, hours=1, model=FleetModel(vms=1))
    assert (outcome.served, outcome.never_served, outcome.still_waiting) == (1, 1, 1)
    assert outcome.peak_workers == 1


def test_worker_hours_are_those_of_a_fleet_left_alone() -> None:
    outcome = outcome_of(PoolSettings(min_idle=3, max_age_s=1e6), [], hours=10, model=FleetModel(vms=5))
    assert outcome.idle_worker_h == pytest.approx(5 * 3 * 10)
    assert (outcome.busy_worker_h, outcome.warming_worker_h, outcome.warmups) == (0.0, 0.0, 0)
    assert outcome.peak_workers == 15
    assert outcome.warm_hit_rate is outcome.wait_p50_s is outcome.idle_s_per_bot is None


def test_a_bot_is_busy_from_its_assignment_until_its_browser_is_gone() -> None:
    outcome = outcome_of(PoolSettings(min_idle=1), [Arrival(100.0, 3600.0)], hours=2)
    assert outcome.busy_worker_h == pytest.approx(1.0, abs=0.01)


def test_warm_ups_that_all_fail_are_tried_again_at_the_pace_of_the_backoff() -> None:
    pool = PoolSettings(min_idle=1, backoff_s=60, backoff_max_s=60)
    outcome = outcome_of(
        pool, [Arrival(0.0, 60.0)], hours=1, model=FleetModel(vms=1, warmup_s=0.1, failing_warmups=1.0)
    )
    assert (outcome.served, outcome.never_served) == (0, 1)
    assert 50 <= outcome.warmups <= 60


def test_nothing_is_left_of_a_day_but_the_idle_pool() -> None:
    run = simulation(PoolSettings(), poisson(50, 20, HABITS, Random(1)))
    run.advance(24)
    assert run.pool.bots == {}
    assert run.pool.fleet.workers[WorkerState.IDLE] == sum(run.pool.fleet.workers.values()) == 4 * 5
    assert len(run.pool.timers) < 200


def steps_per_job(vms: int) -> float:
    """Instructions that the simulator and the pool take for a job, the coming up of the fleet left out."""
    arrivals = [Arrival(float(n), 60.0) for n in range(200)]
    run = simulation(PoolSettings(min_idle=1, max_age_s=1e6), arrivals, hours=1, model=FleetModel(vms))
    run.advance(0)
    steps = 0

    def count(*_: object) -> None:
        nonlocal steps
        steps += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        run.advance(1)
    finally:
        sys.setprofile(before)
    return steps / len(arrivals)


def test_a_job_costs_no_more_in_a_large_fleet() -> None:
    assert steps_per_job(1000) < 1.3 * steps_per_job(10)


def test_pictures_find_a_display_where_vms_make_them_and_nobody_waits_longer_for_that() -> None:
    settings = PoolSettings(min_idle=2, min_idle_display=2, max_workers=12)
    arrivals = recorded(poisson(60, 4, Habits(600, 0), Random(1)), 0.5, 0.3, Random(2))
    outcomes: dict[bool, Outcome] = {}
    for displays in (False, True):
        simulation = Simulation(settings, FleetModel(vms=3, displays=displays), arrivals, 4, Random(3))
        simulation.advance(4)
        assert broken_invariants(simulation.pool) == []
        outcomes[displays] = simulation.outcome()
    without, having = outcomes[False], outcomes[True]
    assert (without.on_display, without.pictures > 40) == (0, True)
    assert having.on_display > 0.9 * having.pictures
    assert having.warm_hits >= without.warm_hits
