"""Which VM comes and which goes: cases, and what holds whatever happens."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.config.settings import ScalingHours, ScalingSettings
from poolmgr.scaling.limits import limits_at
from poolmgr.scaling.need import Because, Need
from poolmgr.scaling.steps import (
    BELIEVE_S,
    Action,
    Admit,
    Drain,
    GiveBack,
    Group,
    Grow,
    Look,
    Outcome,
    Release,
    Seen,
    Standing,
    Undrain,
    carried_out,
    step,
)
from tests.examples import examples

NOW = 10_000.0
SETTINGS = ScalingSettings(min_vms=1, max_vms=10, lead_time_s=300, cool_down_s=900)
LONG_AGO = Standing(asked=4, asked_at=0, grown_at=0)


def vms(*bots: int, **others: Seen) -> list[Seen]:
    """vm-0, vm-1, ... with so many bots each, but for those that are given."""
    return [others.get(f"vm_{number}", Seen(f"vm-{number}", each)) for number, each in enumerate(bots)]


def look(need: int, fleet: Sequence[Seen], wanted: int | None = None, now: float = NOW, **group: Any) -> Look:
    says = Group(len(fleet) if wanted is None else wanted, **group)
    return Look(now, 0, Need(need, Because.ROOM), fleet, says)


def after(outcome: Outcome, now: float = NOW) -> Standing:
    standing = outcome.standing
    for action in outcome.actions:
        standing = carried_out(standing, action, outcome.view.asked, now)
    return standing


def actions_of(standing: Standing, look: Look, scaling: ScalingSettings = SETTINGS) -> list[Action]:
    return step(standing, look, scaling).actions


# Growing


def test_what_is_short_is_asked_for() -> None:
    outcome = step(Standing(), look(3, vms(4)), SETTINGS)
    assert outcome.actions == [Grow(3)]
    view = outcome.view
    assert (view.target, view.asked, view.serving, view.coming, view.because) == (3, 1, 1, 0, Because.ROOM)


def test_what_is_on_its_way_is_not_asked_for_again_until_it_is_overdue() -> None:
    standing = after(step(Standing(), look(3, vms(4)), SETTINGS))
    assert actions_of(standing, look(3, vms(4), wanted=3, now=NOW + 30)) == []
    assert actions_of(standing, look(4, vms(4), wanted=3, now=NOW + 30)) == [Grow(4)]
    assert actions_of(standing, look(3, vms(4), wanted=3, now=NOW + 600)) == [Grow(5)]


def test_the_first_leader_waits_for_the_vms_that_are_there_already() -> None:
    outcome = step(Standing(), look(3, vms(4), wanted=3), SETTINGS)
    assert (outcome.actions, outcome.view.coming) == ([], 2)
    assert actions_of(outcome.standing, look(3, vms(4), wanted=3, now=NOW + 600)) == [Grow(5)]


def test_a_late_answer_of_the_provider_is_not_believed() -> None:
    standing = after(step(Standing(), look(3, vms(4)), SETTINGS))
    assert actions_of(standing, look(3, vms(4), wanted=1, now=NOW + BELIEVE_S - 1)) == []
    assert actions_of(standing, look(3, vms(4), wanted=1, now=NOW + BELIEVE_S)) == [Grow(3)]


@pytest.mark.parametrize(
    ("need", "target", "because"), [(0, 1, Because.FLOOR), (1, 1, Because.ROOM), (99, 10, Because.CEILING)]
)
def test_floor_and_ceiling_count_more_than_the_need(need: int, target: int, because: Because) -> None:
    view = step(Standing(), look(need, vms(0)), SETTINGS).view
    assert (view.target, view.because, view.floor, view.ceiling) == (target, because, 1, 10)


def test_a_lost_vm_is_replaced_and_a_silent_one_is_not() -> None:
    silent, lost = Seen("vm-1", 2, silent=True), Seen("vm-1", 0, lost=True)
    assert actions_of(LONG_AGO, look(2, vms(0, 0, vm_1=silent))) == []
    assert actions_of(LONG_AGO, look(2, vms(0, 0, vm_1=lost))) == [Grow(3)]


def test_vms_that_are_not_the_providers_do_not_count() -> None:
    assert actions_of(LONG_AGO, look(2, vms(0, 0), wanted=1, vms=frozenset({"vm-0"}))) == [Grow(2)]


def test_a_drained_vm_is_taken_back_before_another_is_asked_for() -> None:
    fleet = vms(1, 2, 1, vm_1=Seen("vm-1", 2, draining=True), vm_2=Seen("vm-2", 1, draining=True))
    standing = Standing(draining=("vm-2", "vm-1"))
    outcome = step(standing, look(2, fleet), SETTINGS)
    assert outcome.actions == [Undrain("vm-1")]  # the fullest, which would be the last to become empty
    assert after(outcome).draining == ("vm-2",)
    assert actions_of(standing, look(4, fleet)) == [Undrain("vm-1"), Undrain("vm-2"), Grow(4)]


@pytest.mark.parametrize(
    "gone", [Seen("vm-1", 0, draining=True, stopping=True), Seen("vm-1", 0, draining=True, silent=True)]
)
def test_a_drained_vm_that_stops_or_is_not_heard_of_is_not_taken_back(gone: Seen) -> None:
    assert actions_of(Standing(draining=("vm-1",)), look(2, vms(1, 0, vm_1=gone))) == [Grow(3)]


# Giving back


def test_the_emptiest_is_drained_first_and_only_after_the_cool_down() -> None:
    standing = after(step(LONG_AGO, look(4, vms(3, 1, 0, 2)), SETTINGS))
    assert actions_of(standing, look(2, vms(3, 1, 0, 2), now=NOW + 899)) == []
    outcome = step(standing, look(2, vms(3, 1, 0, 2), now=NOW + 900), SETTINGS)
    assert outcome.actions == [Drain("vm-2"), Drain("vm-1")]
    assert after(outcome).draining == ("vm-2", "vm-1")


def test_a_drained_vm_is_given_back_when_it_is_empty() -> None:
    standing = Standing(asked=3, draining=("vm-1", "vm-2"))
    fleet = vms(3, 1, 0, vm_1=Seen("vm-1", 1, draining=True), vm_2=Seen("vm-2", 0, draining=True))
    outcome = step(standing, look(1, fleet), SETTINGS)
    assert outcome.actions == [GiveBack("vm-2")]
    standing = after(outcome)
    assert (standing.asked, standing.draining, standing.given_back) == (2, ("vm-1",), ("vm-2",))
    # It is seen until its agent has gone, and not counted any more.
    outcome = step(standing, look(2, fleet, wanted=3, now=NOW + 30), SETTINGS)
    assert outcome.actions == [Undrain("vm-1")]
    assert outcome.view.asked == 2
    assert step(standing, look(1, fleet[:2], now=NOW + 60), SETTINGS).standing.given_back == ()


def test_a_vm_that_somebody_else_drained_is_left_alone() -> None:
    fleet = vms(3, 0, vm_1=Seen("vm-1", 0, draining=True))
    assert actions_of(Standing(), look(1, fleet)) == []
    assert actions_of(Standing(), look(2, fleet)) == [Grow(3)]


def test_a_vm_that_somebody_takes_back_into_service_is_not_ours_any_more() -> None:
    standing = step(Standing(draining=("vm-1",)), look(2, vms(3, 0)), SETTINGS).standing
    assert standing.draining == ()


def test_a_silent_vm_may_have_calls() -> None:
    silent = Seen("vm-1", 0, draining=True, silent=True)
    assert actions_of(Standing(draining=("vm-1",)), look(1, vms(3, 0, vm_1=silent))) == []
    assert actions_of(Standing(), look(1, vms(0, 3, vm_0=Seen("vm-0", 0, silent=True)))) == [Drain("vm-1")]


def test_none_goes_while_one_is_on_its_way() -> None:
    standing = Standing(asked=4, asked_at=NOW, grown_at=NOW)
    assert actions_of(standing, look(2, vms(1, 1, 0))) == []


def test_the_provider_never_has_fewer_than_serve() -> None:
    fleet = vms(3, 0, vm_1=Seen("vm-1", 0, draining=True))
    assert actions_of(Standing(draining=("vm-1",)), look(1, fleet, wanted=1)) == []


def test_a_lower_ceiling_counts_at_once() -> None:
    scaling = ScalingSettings(max_vms=2)
    standing = Standing(targets=((NOW - 1, 4),))
    assert actions_of(standing, look(4, vms(1, 0, 2, 3)), scaling) == [Drain("vm-1"), Drain("vm-0")]


# Of a provider that takes the last


def test_the_last_go_first_whatever_is_on_them() -> None:
    standing = Standing(asked=11, targets=())
    fleet = [Seen(f"worker-{number}", 9 if number == 10 else 0) for number in range(11)]
    assert actions_of(standing, look(9, fleet, ends_last=True)) == [Drain("worker-10"), Drain("worker-9")]


def test_one_is_given_back_when_it_is_the_last() -> None:
    def drained(*bots: int) -> list[Seen]:
        return [Seen("worker-0", 1), *(Seen(f"worker-{n}", each, draining=True) for n, each in enumerate(bots, 1))]

    standing = Standing(draining=("worker-1", "worker-2", "worker-3"))
    assert actions_of(standing, look(1, drained(0, 0, 1), ends_last=True)) == []
    assert actions_of(standing, look(1, drained(1, 0, 0), ends_last=True)) == [
        GiveBack("worker-3"),
        GiveBack("worker-2"),
    ]
    assert actions_of(standing, look(2, drained(0, 0, 1), ends_last=True)) == [Undrain("worker-1")]


def test_names_without_a_number_are_never_the_last() -> None:
    fleet = [Seen("a", 1), Seen("b", 0, draining=True)]
    assert actions_of(Standing(draining=("b",)), look(1, fleet, ends_last=True)) == []


# Of a provider that wants to take one


def test_who_is_to_leave_is_drained_and_released_when_it_is_empty() -> None:
    fleet = vms(1, 1)
    outcome = step(Standing(), look(2, fleet, leaving=("vm-1",)), SETTINGS)
    assert outcome.actions == [Grow(3), Drain("vm-1")]
    standing = after(outcome)
    fleet = vms(1, 1, vm_1=Seen("vm-1", 1, draining=True))
    assert actions_of(standing, look(2, fleet, wanted=3, now=NOW + 9, leaving=("vm-1",))) == []
    fleet = vms(1, 0, vm_1=Seen("vm-1", 0, draining=True))
    outcome = step(standing, look(2, fleet, wanted=3, now=NOW + 9, leaving=("vm-1",)), SETTINGS)
    assert outcome.actions == [Release("vm-1")]
    assert after(outcome).draining == ("vm-1",)


def test_who_is_not_there_is_released_at_once() -> None:
    assert actions_of(Standing(), look(1, vms(1), leaving=("vm-9",))) == [Release("vm-9")]


# Of a provider that waits for a new one


def test_who_is_waited_for_counts_as_coming_and_is_admitted_when_its_agent_is_there() -> None:
    outcome = step(Standing(), look(2, vms(1), wanted=2, arriving=("vm-1",)), SETTINGS)
    assert (outcome.actions, outcome.view.coming) == ([], 1)
    outcome = step(after(outcome), look(2, vms(1, 0), arriving=("vm-1",)), SETTINGS)
    assert (outcome.actions, outcome.view.coming) == ([Admit("vm-1")], 0)
    silent = vms(1, 0, vm_1=Seen("vm-1", 0, silent=True))
    assert actions_of(after(outcome), look(2, silent, arriving=("vm-1",))) == []


# Of a provider that does not end one


def test_a_vm_that_is_named_and_runs_long_after_it_was_given_back_is_given_back_again() -> None:
    standing = Standing(asked=2, draining=("vm-1",))
    fleet = vms(3, 0, vm_1=Seen("vm-1", 0, draining=True))
    names = frozenset({"vm-0", "vm-1"})
    outcome = step(standing, look(1, fleet, vms=names), SETTINGS)
    assert outcome.actions == [GiveBack("vm-1")]
    standing = after(outcome)
    assert standing.given_back_at == NOW
    assert actions_of(standing, look(1, fleet, vms=names, now=NOW + 599)) == []
    outcome = step(standing, look(1, fleet, vms=names, now=NOW + 600), SETTINGS)
    assert outcome.actions == [GiveBack("vm-1")]
    assert outcome.standing.given_back == ()


@pytest.mark.parametrize(
    ("vm", "group"),
    [
        (Seen("vm-1", 0, draining=True, stopping=True), {"vms": frozenset({"vm-0", "vm-1"})}),
        (Seen("vm-1", 0, draining=True, silent=True), {"vms": frozenset({"vm-0", "vm-1"})}),
        (Seen("vm-1", 0, draining=True, lost=True), {"vms": frozenset({"vm-0", "vm-1"})}),
        (Seen("vm-1", 0, draining=True), {"vms": None}),  # it would be asked of a program to end it twice
    ],
)
def test_a_vm_that_was_given_back_and_may_be_ending_is_not_given_back_again(vm: Seen, group: dict[str, Any]) -> None:
    standing = Standing(asked=1, given_back=("vm-1",), given_back_at=NOW)
    outcome = step(standing, look(1, vms(3, 0, vm_1=vm), wanted=1, now=NOW + 9000, **group), SETTINGS)
    assert (outcome.actions, outcome.standing.given_back) == ([], ("vm-1",))


def test_a_vm_that_was_given_back_and_waits_to_go_is_released() -> None:
    standing = Standing(asked=1, given_back=("vm-1",), given_back_at=NOW)
    fleet = vms(3, 0, vm_1=Seen("vm-1", 0, draining=True))
    group = {"vms": frozenset({"vm-0", "vm-1"}), "leaving": ("vm-1",)}
    assert actions_of(standing, look(1, fleet, wanted=1, now=NOW + 9000, **group)) == [Release("vm-1")]


def test_a_vm_that_was_given_back_and_that_somebody_took_back_counts_again() -> None:
    standing = Standing(asked=1, given_back=("vm-1",), given_back_at=NOW)
    names = frozenset({"vm-0", "vm-1"})
    outcome = step(standing, look(2, vms(3, 1), wanted=2, now=NOW + 600, vms=names), SETTINGS)
    assert (outcome.actions, outcome.view.serving, outcome.standing.draining) == ([], 2, ())


# Whatever happens


@dataclass
class World:
    """A provider and a pool that obey, more or less. `late`: the provider's number is that of the look before."""

    standing: Standing = field(default_factory=Standing)
    fleet: dict[str, Seen] = field(default_factory=lambda: {"vm-0": Seen("vm-0", 0)})
    booting: list[str] = field(default_factory=list[str])
    before: int = 1
    named: int = 1

    @property
    def wanted(self) -> int:
        return len(self.fleet) + len(self.booting)

    def obey(self, action: Action) -> None:
        match action:
            case Grow(to=to):
                while self.wanted < to:
                    self.booting.append(f"vm-{self.named}")
                    self.named += 1
            case Drain(vm_id=vm_id) | Undrain(vm_id=vm_id):
                self.fleet[vm_id] = self.fleet[vm_id]._replace(draining=isinstance(action, Drain))
            case GiveBack(vm_id=vm_id):
                del self.fleet[vm_id]
            case _:
                raise AssertionError(action)


looks = st.fixed_dictionaries({
    "need": st.integers(0, 9),
    "after_s": st.sampled_from([30.0, 130.0, 1000.0]),
    "late": st.booleans(),
    "boots": st.integers(0, 9),
    "bots": st.lists(st.integers(0, 3), min_size=10, max_size=10),
    "silent": st.sampled_from([-1, -1, 0, 1]),
})  # fmt: skip
DAY = ScalingHours(begin="00:00", end="00:02", min_vms=2, max_vms=3)
BY_HOUR = ScalingSettings(min_vms=1, max_vms=6, lead_time_s=300, cool_down_s=900, hours=[DAY])


@settings(max_examples=examples(60))
@given(st.lists(looks, min_size=1, max_size=15), st.booleans())
def test_limits_hold_no_vm_with_a_bot_goes_and_none_within_the_cool_down(
    course: list[dict[str, Any]], ends_last: bool
) -> None:
    world, now = World(), NOW
    wanted_at = list[tuple[float, int]]()
    for at in course:
        now += at["after_s"]
        for name in world.booting[: at["boots"]]:
            world.fleet[name] = Seen(name, 0)
        del world.booting[: at["boots"]]
        for number, (name, vm) in enumerate(world.fleet.items()):
            bots = min(vm.bots, at["bots"][number]) if vm.draining else at["bots"][number]  # none is added to a drained
            world.fleet[name] = vm._replace(bots=bots, silent=number == at["silent"])
        minute = int(now // 60) % 5
        limits = limits_at(minute, BY_HOUR)
        wanted = world.before if at["late"] else world.wanted
        world.before = world.wanted
        group = Group(wanted, frozenset(world.fleet), ends_last)
        seen = list(world.fleet.values())
        outcome = step(world.standing, Look(now, minute, Need(at["need"], Because.ROOM), seen, group), BY_HOUR)
        wanted_at.append((now, outcome.view.target))
        assert limits.floor <= outcome.view.target <= limits.ceiling
        lately = max(vms for when, vms in wanted_at if when > now - BY_HOUR.cool_down_s)
        world.standing = outcome.standing
        asked = outcome.view.asked
        for action in outcome.actions:
            vm = world.fleet.get(getattr(action, "vm_id", ""))
            match action:
                case Grow(to=to):
                    assert asked < to <= limits.ceiling
                case GiveBack():
                    assert vm is not None
                    assert vm.draining
                    assert not vm.bots
                    assert not vm.silent
                    assert asked > limits.floor
                case Drain():
                    assert vm is not None
                    assert not vm.silent
                    assert sum(other.serves for other in world.fleet.values()) > min(lately, limits.ceiling)
                case _:
                    pass
            world.obey(action)
            world.standing = carried_out(world.standing, action, asked, now)
            asked = world.standing.asked or asked
        ways = {type(action) for action in outcome.actions}
        assert not ({Grow, Undrain} & ways and Drain in ways)
        assert not (Grow in ways and GiveBack in ways)
