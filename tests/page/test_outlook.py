"""What is told is what changed, and what is counted is what there is, however often it changed before."""

from collections import Counter

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from common.config.settings import PoolSettings
from common.jobs.record import iso
from common.wire.vocabulary import BotState, VmState, WorkerState
from poolmgr.page.hour import Hour, Minute
from poolmgr.page.outlook import MOST_BOTS, Outlook
from poolmgr.store.reading.sight import FIELDS
from poolmgr.store.reading.views import Standing, StatusChange, VmView
from tests.examples import examples

AT = 1_800_000_000.0


def record(bot_id: str, state: str = "queued", created: float = AT, **more: str) -> dict[str, str]:
    blank = dict.fromkeys(FIELDS, "")
    return {**blank, "bot_id": bot_id, "bot_name": f"Bot {bot_id}", "state": state, "created_at": iso(created), **more}


def change(bot_id: str, state: str, at: float, attempt: str = "1") -> StatusChange:
    return StatusChange("1-0", {"bot_id": bot_id, "state": state, "at": iso(at), "attempt": attempt})


def vm(vm_id: str, state: str = "up", **workers: int) -> VmView:
    return VmView(vm_id, VmState(state), {kind.value: workers.get(kind.value, 0) for kind in WorkerState}, [])


def outlook() -> Outlook:
    made = Outlook(PoolSettings())
    made.put_standing(Standing("m", 1, 0, 0))
    return made


def test_first_come_a_few_of_any_number_of_vms_those_that_need_somebody_first_and_then_all_others() -> None:
    seen = outlook()
    ids = [f"vm-{number}" for number in range(1000)]
    states = {"vm-999": "lost", "vm-500": "silent", "vm-600": "draining"}
    assert seen.keep_vms(ids) == ids
    for vm_id in ids:
        seen.put_vm(vm(vm_id, states.get(vm_id, "up"), idle=vm_id != "vm-7"))
    for number in range(MOST_BOTS):
        seen.put_bot(record(f"b{number}", created=AT + number))
    for whole in (False, True):
        seen.whole = whole
        first, rest = seen.everything(AT)
        assert [row.id for row in first.vms[:6]] == ["vm-999", "vm-500", "vm-600", "vm-7", "vm-0", "vm-1"]
        assert (len(first.vms), len(first.bots), first.whole) == (40, 40, False)
        assert first.bots[0].id == f"b{MOST_BOTS - 1}"
        assert first.head
        assert first.head.vms_there == 1000
        assert sorted(row.id for told in (first, *rest) for row in told.vms) == sorted(ids)
        assert len({row.id for told in (first, *rest) for row in told.bots}) == MOST_BOTS
        assert [told.whole for told in rest] == [False] * (len(rest) - 1) + [whole]


def test_a_fleet_that_fits_is_whole_at_once_and_that_is_told_once() -> None:
    seen = outlook()
    seen.put_vm(vm("vm-1"))
    assert seen.everything(AT)[0].whole is False
    assert seen.take_difference(AT)
    seen.whole = True
    first, rest = seen.everything(AT)
    assert (first.whole, rest) == (True, [])
    told = seen.take_difference(AT)
    assert told
    assert (told.whole, told.vms) == (True, [])
    assert seen.take_difference(AT) is None


def test_nothing_is_told_twice() -> None:
    seen = outlook()
    seen.put_vm(vm("vm-1", idle=3))
    seen.put_bot(record("b1"))
    first = seen.take_difference(AT)
    assert first
    assert ([vm.id for vm in first.vms], [bot.id for bot in first.bots]) == (["vm-1"], ["b1"])
    seen.put_vm(vm("vm-1", idle=3))
    seen.put_bot(record("b1"))
    assert seen.take_difference(AT + 1) is None
    seen.keep_vms([])
    last = seen.take_difference(AT + 2)
    assert last
    assert (last.gone, last.vms, last.head and last.head.vms) == (["vm-1"], [], {})


def test_only_the_newest_bots_are_shown() -> None:
    seen = outlook()
    for number in range(MOST_BOTS + 1):
        seen.put_bot(record(f"b{number}", created=AT + number))
    assert len(seen.bots) == MOST_BOTS
    assert "b0" not in seen.bots
    told = seen.take_difference(AT)
    assert told
    assert told.no_more == ["b0"]
    assert told.head
    assert told.head.queued == MOST_BOTS + 1


def test_how_long_the_first_waits_counts_from_when_it_was_queued_again() -> None:
    seen = outlook()
    seen.put_bot(record("b1", "joining", assigned_at=iso(AT + 1), joining_at=iso(AT + 2)))
    seen.happened(change("b1", "queued", AT + 50))
    seen.put_bot(record("b1", "queued"))
    told = seen.take_difference(AT)
    assert told
    assert told.head
    assert told.head.oldest_since == AT + 50


def test_joining_counts_from_the_assignment_and_once() -> None:
    seen = outlook()
    for state, at in (("queued", 0), ("assigned", 10), ("joining", 11), ("in_meeting", 14), ("stopped", 99)):
        seen.happened(change("b1", state, AT + at))
    seen.happened(change("b2", "in_meeting", AT + 14))  # when it was assigned nobody saw
    [minute] = seen.hour.all()
    assert minute == Minute(int(AT), 0, 0, 1, 4.0, 4.0)


def test_names_and_ids_are_found_in_any_case() -> None:
    seen = outlook()
    seen.put_vm(vm("Host-7"))
    seen.put_live(record("b1"))
    seen.put_bot(record("b2", "stopped", bot_name="Straße", stopped_at=iso(AT)))
    assert seen.find("host", 10) == (["Host-7"], [])
    assert seen.find("BOT", 10) == ([], ["b1"])
    assert seen.find("STRASSE", 10) == ([], ["b2"])


def test_a_record_of_another_release_is_shown_as_far_as_it_is_known() -> None:
    seen = outlook()
    seen.put_bot(record("b1", "dreaming", created_at="yesterday"))
    assert (seen.bots["b1"].state, seen.bots["b1"].created) == ("dreaming", 0.0)


def test_the_hour_forgets_what_is_older_and_takes_nothing_older() -> None:
    hour = Hour()
    hour.given(AT, warm=True)
    hour.given(AT + 3600, warm=False)
    hour.given(AT, warm=True)
    assert [(minute.at, minute.given, minute.hits) for minute in hour.all()] == [(int(AT) + 3600, 1, 0)]
    assert len(hour.take_changed()) == 1
    assert hour.take_changed() == []


def test_bots_in_a_state_are_found_the_longest_in_it_first() -> None:
    seen = outlook()
    for bot_id, state in (("b1", "queued"), ("b2", "in_meeting"), ("b3", "queued"), ("b4", "queued")):
        seen.put_live(record(bot_id, state))
    seen.happened(change("b1", "queued", AT + 5))
    assert seen.in_state("queued", 2) == ["b3", "b4"]
    assert seen.in_state("queued", 9) == ["b3", "b4", "b1"]
    assert seen.in_state("leaving", 9) == []


_STATES = st.sampled_from([state.value for state in BotState])
_STEPS = st.lists(st.tuples(st.sampled_from(["put", "live", "change", "keep"]), st.sampled_from("abcd"), _STATES))


@settings(max_examples=examples(60))
@given(_STEPS)
def test_counts_agree_with_what_lives(steps: list[tuple[str, str, str]]) -> None:
    seen = outlook()
    alive: dict[str, str] = {}
    for what, bot_id, state in steps:
        match what:
            case "put":
                seen.put_bot(record(bot_id, state))
                alive[bot_id] = state
            case "live":
                seen.put_live(record(bot_id, state))
                alive.setdefault(bot_id, state)
            case "change":
                seen.happened(change(bot_id, state, AT))
                alive[bot_id] = state
            case _:
                assert seen.keep_live([bot_id]) == ([] if bot_id in alive else [bot_id])
                alive = {other: known for other, known in alive.items() if other == bot_id}
        alive = {bot_id: known for bot_id, known in alive.items() if known != "stopped"}
    told, _ = seen.everything(AT)
    assert told.head
    assert told.head.bots == dict(Counter(alive.values()))
    assert told.head.queued == sum(state == "queued" for state in alive.values())


def test_workers_with_a_display_count_towards_the_target_where_they_are_made_and_are_told_of_each_vm() -> None:
    seen = outlook()
    seen.put_vm(vm("vm-1", idle=7))
    with_display = msgspec.structs.replace(vm("vm-2", idle=7), makes_displays=True, displays={"idle": 2})
    seen.put_vm(with_display)
    told = seen.take_difference(AT)
    assert told
    assert told.head
    assert told.head.target == 12
    assert [row.displays for row in told.vms] == [(), (0, 2, 0, 0, 0)]
    seen.put_vm(msgspec.structs.replace(with_display, state=VmState.LOST))
    told = seen.take_difference(AT)
    assert told
    assert told.head
    assert told.head.target == 5
