"""The plan of a round: chance decides, and the seed decides chance."""

import random

from chaos.faults import FAULTS, plan
from chaos.stage import LOST_AFTER_S, SILENT_AFTER_S


def test_a_seed_plans_the_same_round_again_and_another_one_another() -> None:
    first, again, other = (plan(random.Random(seed), 12, 0.6) for seed in ("1", "1", "2"))
    assert first == again
    assert first != other


def test_every_fault_comes_to_be_planned() -> None:
    planned = plan(random.Random("1"), 1000, 1.0)
    assert {one.fault.name for one in planned} == {fault.name for fault in FAULTS}
    assert all(one.fault.lasts_s[0] <= one.lasts_s <= one.fault.lasts_s[1] for one in planned)
    assert [one.at_s for one in planned] == sorted(one.at_s for one in planned)


def test_a_plan_may_be_narrowed_by_name_and_by_length() -> None:
    assert {one.fault.name for one in plan(random.Random("1"), 1000, 1.0, only="redis")} == {
        fault.name for fault in FAULTS if "redis" in fault.name
    }
    assert all(one.fault.lasts_s[1] <= 6 for one in plan(random.Random("1"), 1000, 1.0, longest_s=6))


def test_no_fault_that_is_shorter_than_the_grace_explains_an_end() -> None:
    silencing = [fault for fault in FAULTS if fault.name.startswith("agent") and fault.lasts_s[1] > 0]
    assert {fault.lasts_s[1] < LOST_AFTER_S for fault in silencing if not fault.may_end} == {True}
    assert {fault.lasts_s[0] > LOST_AFTER_S > SILENT_AFTER_S for fault in silencing if fault.may_end} == {True}
