"""Kills near ends: which follow on which moment is the seed's and the job's."""

import pytest

from lab.chaos.faults.catalogue import BY_NAME
from lab.chaos.faults.injection import Blow, Moment
from lab.chaos.faults.near_ends import WITHIN_S, NearEnds

MANY = range(400)


def after(moment: Moment, meeting: str = "ends", share: float = 1.0, seed: int = 1) -> list[list[Blow]]:
    near_ends = NearEnds(seed, share)
    return [near_ends.after(f"t.{number}", meeting, moment) for number in MANY]


def test_the_same_seed_kills_at_the_same_ends_again_and_another_at_others() -> None:
    assert after(Moment.LEFT, share=0.5) == after(Moment.LEFT, share=0.5)
    assert after(Moment.LEFT, share=0.5) != after(Moment.LEFT, share=0.5, seed=2)
    assert after(Moment.LEFT, share=0.5) != after(Moment.ASKED, share=0.5)


@pytest.mark.parametrize(
    ("moment", "meeting", "kills"),
    [
        (Moment.LEFT, "ends", True),
        (Moment.LEFT, "is denied", True),
        (Moment.ASKED, "is asked to leave", True),
        (Moment.LOBBY, "is denied", True),
        (Moment.LOBBY, "ends", False),
        (Moment.INSIDE, "ends", False),
        (Moment.GONE, "ends", False),
    ],
)
def test_it_kills_near_ends_denials_and_requests_to_leave(moment: Moment, meeting: str, kills: bool) -> None:
    assert all(bool(blows) is kills for blows in after(moment, meeting))


def test_so_many_of_the_ends_get_a_kill_as_it_is_told() -> None:
    assert not any(after(Moment.LEFT, share=0.0))
    assert 0.25 < sum(map(bool, after(Moment.LEFT, share=0.35))) / len(MANY) < 0.45


def test_the_first_kill_comes_at_once_and_the_same_vm_is_hit_again_while_it_comes_back() -> None:
    all_blows = after(Moment.LEFT)
    assert all(0 <= blows[0].at_s <= WITHIN_S for blows in all_blows)
    assert {blow.fault for blows in all_blows for blow in blows[:1]} == {
        "agent killed", "agent and driver killed", "driver killed", "browser in a meeting killed", "leader killed",
    }  # fmt: skip
    again = [blows for blows in all_blows if len(blows) > 1]
    assert len(again) > len(MANY) / 3
    for number, blows in enumerate(all_blows):
        assert {(blow.job, blow.after) for blow in blows} == {(f"t.{number}", Moment.LEFT)}
        assert [blow.at_s for blow in blows] == sorted(blow.at_s for blow in blows)
    assert {blow.fault.split()[0] for blows in again for blow in blows[1:]} == {"agent", "driver"}


def test_what_it_kills_is_a_process_and_over_at_once() -> None:
    faults = [BY_NAME[blow.fault] for blows in after(Moment.LEFT) for blow in blows]
    assert all(fault.is_of_a_process and fault.lasts_s == (0.0, 0.0) for fault in faults)
