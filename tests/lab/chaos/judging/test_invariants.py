"""The checker has to find each kind of violation in a world that has it, and nothing in one that is whole. Each broken
world is the whole one with one thing changed.
"""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from common.wire.vocabulary import Reason
from lab.chaos.faults.catalogue import Aim, Excuse, Still
from lab.chaos.judging.invariants import story, violations
from lab.chaos.judging.outside import Change, Dead, Poison, VmSeen, World
from lab.chaos.observers.backstops import Backstop
from lab.chaos.observers.witness import Mark, Seen
from lab.chaos.system.load import BadPush, Push
from lab.chaos.system.stage import Rollback

PID = 7
WAY = ["queued", "assigned", "joining", "waiting_room", "in_meeting", "stopped"]


def at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def changes(bot_id: str, *steps: tuple[str, int], reason: str = "meeting_ended", vm_id: str = "vm-1") -> list[Change]:
    return [
        Change(
            f"{n}000-0", bot_id, state, reason if state == "stopped" else "", attempt, vm_id if attempt else "", at(n)
        )
        for n, (state, attempt) in enumerate(steps, 100)
    ]


def way(bot_id: str, reason: str = "meeting_ended") -> list[Change]:
    return changes(bot_id, *((state, int(state != "queued")) for state in WAY), reason=reason)


def record(bot_id: str, tag: str, reason: str = "meeting_ended", state: str = "stopped") -> dict[str, str]:
    times = {"created_at": at(100), "stopped_at": at(105)}
    link = f"http://127.0.0.1:1/r/chaos?tag={tag}&lobby_s=0"
    return {
        "bot_id": bot_id, "meeting_url": link, "state": state, "status_reason": reason, "reason_detail": "", **times,
    }  # fmt: skip


def push(tag: str, form: str = "with bot_id", times: int = 1, ends_as: Reason = Reason.MEETING_ENDED) -> Push:
    return Push(tag, form, f"bot-{tag}", "", times, frozenset({ends_as}))


def visit(tag: str, name: str, begin: float, end: float, *, gone: bool = False) -> list[Mark]:
    left = Mark(end, Seen.GONE if gone else Seen.LEFT, tag, name, PID)
    return [Mark(begin - 1, Seen.LOBBY, tag, name, PID), Mark(begin, Seen.INSIDE, tag, name, PID), left]


IDLE = {"vm-1-1-1": "idle", "vm-1-1-2": "idle"}
VM = VmSeen("vm-1", IDLE, IDLE, frozenset(IDLE), frozenset(IDLE), most=4)
WHOLE = World(
    min_idle=2,
    max_workers=4,
    pushes=[push("a"), push("b", "twice", times=2), push("c", "plain", times=0)],
    bad=[BadPush("bad-1")],
    poisons=[Poison("poison-1", True, 3, ["poisonous"]), Poison("poison-2", False, 0, [])],
    records={"bot-a": record("bot-a", "a"), "bot-b": record("bot-b", "b")},
    changes=way("bot-a") + way("bot-b"),
    dead=[Dead("not_json", "", mark="bad-1"), Dead("duplicate_bot_id", "bot-b", "b")],
    marks=visit("a", "1", 104, 105) + visit("b", "2", 104, 105),
    vms=[VM],
    keys={"poolmgr:bot:bot-a": 60, "poolmgr:jobs": -1},
)


def with_a(world: World, story_of_a: list[Change], marks: list[Mark], reason: str = "meeting_ended") -> World:
    """The same world with another story of bot a."""
    return world._replace(
        changes=story_of_a + way("bot-b"),
        marks=marks + visit("b", "2", 104, 105),
        records={**world.records, "bot-a": record("bot-a", "a", reason)},
    )


def test_a_whole_world_has_no_violations() -> None:
    assert violations(WHOLE) == []


BROKEN: dict[str, Callable[[World], World]] = {
    "job lost": lambda w: w._replace(records={"bot-b": w.records["bot-b"]}, changes=way("bot-b")),
    "job doubled": lambda w: w._replace(
        records={**w.records, "bot-x": record("bot-x", "a")}, changes=[*w.changes, *way("bot-x")]
    ),
    "job left": lambda w: w._replace(taken=1),
    "rejected job lost": lambda w: w._replace(dead=w.dead[1:]),
    "good job rejected": lambda w: w._replace(dead=[*w.dead, Dead("bad_field", "", "c")]),
    "not ended": lambda w: w._replace(
        records={**w.records, "bot-a": record("bot-a", "a", "", "in_meeting")}, changes=way("bot-a")[:-1] + way("bot-b")
    ),
    "end not told": lambda w: w._replace(changes=way("bot-a")[:-1] + way("bot-b")),
    "ended twice": lambda w: w._replace(changes=[*w.changes, way("bot-a")[-1]]),
    "end without reason": lambda w: w._replace(changes=way("bot-a", reason="") + way("bot-b")),
    "end contradicted": lambda w: w._replace(changes=way("bot-a", reason="removed_by_host") + way("bot-b")),
    "index wrong": lambda w: w._replace(live=frozenset({"bot-a"})),
    "end unexplained": lambda w: with_a(w, way("bot-a", "worker_lost"), visit("a", "1", 104, 105), "worker_lost"),
    "twice in a meeting": lambda w: w._replace(
        marks=sorted([*w.marks, *visit("a", "9", 104.5, 104.8)], key=lambda mark: mark.at)
    ),
    "admitted again": lambda w: w._replace(marks=[*w.marks, *visit("a", "9", 110, 111)]),
    "status went back": lambda w: w._replace(
        changes=changes("bot-a", ("queued", 0), ("assigned", 1), ("in_meeting", 1), ("waiting_room", 1), ("stopped", 1))
        + way("bot-b")
    ),
    "status after the end": lambda w: w._replace(
        changes=[*w.changes, Change("106000-0", "bot-a", "queued", "", 1, "", at(106))]
    ),
    "orphan": lambda w: w._replace(vms=[VM._replace(folders=frozenset({*IDLE, "vm-1-1-3"}))]),
    "sides disagree": lambda w: w._replace(vms=[VM._replace(reported={"vm-1-1-1": "idle"})]),
    "limit broken": lambda w: w._replace(vms=[VM._replace(most=5)]),
    "pool not back": lambda w: w._replace(vms=[VmSeen("vm-1", {}, {}, frozenset(), frozenset(), most=4)]),
    "key without end": lambda w: w._replace(keys={"poolmgr:bot:bot-a": -1}),
    "attempt used again": lambda w: w._replace(
        rollbacks=[Rollback(90, 100.5)], attempts_before=frozenset({("bot-a", 1)})
    ),
    "epoch used again": lambda w: w._replace(epochs=[(7, 7)]),
    "poison begun again": lambda w: w._replace(poisons=[Poison("poison-1", True, 4, ["poisonous"])]),
    "poison not set aside": lambda w: w._replace(poisons=[Poison("poison-1", False, 1, [])]),
    "lead changed": lambda w: w._replace(flooded=[(7, 7), (7, 8)]),
    "audit": lambda w: w._replace(audited=["worker_without_order w9: nobody knows of it"]),
    "overdue": lambda w: with_a(w, way("bot-a", "overdue"), visit("a", "1", 104, 105), "overdue"),
}


@pytest.mark.parametrize("kind", list(BROKEN))
def test_it_finds(kind: str) -> None:
    found = violations(BROKEN[kind](WHOLE))
    assert kind in {violation.kind for violation in found}
    assert all(violation.sentence for violation in found)


def test_an_orphaned_process_is_found_with_and_without_a_folder() -> None:
    browser = WHOLE._replace(vms=[VM._replace(browsers=frozenset({*IDLE, "vm-1-1-3"}))])
    stray = WHOLE._replace(strays=["process 7"])
    for world, name in ((browser, "vm-1-1-3"), (stray, "process 7")):
        [violation] = violations(world)
        assert violation.kind == "orphan"
        assert name in violation.sentence


def test_a_worker_without_a_browser_is_found_though_both_sides_believe_in_it() -> None:
    [violation] = violations(WHOLE._replace(vms=[VM._replace(browsers=frozenset({"vm-1-1-1"}))]))
    assert violation.kind == "sides disagree"


@pytest.mark.parametrize(
    ("excuse", "explains"),
    [
        (Excuse("vm-1", frozenset({Reason.WORKER_LOST}), 103, 110), True),
        (Excuse("vm-2", frozenset({Reason.WORKER_LOST}), 103, 110), False),
        (Excuse("vm-1", frozenset({Reason.BROWSER_CRASHED}), 103, 110), False),
        (Excuse("vm-1", frozenset({Reason.WORKER_LOST}), 90, 99), False),
        (Excuse("vm-1", frozenset({Reason.WORKER_LOST}), 106, 110), False),
        (Excuse("vm-1", frozenset({Reason.WORKER_LOST}), 103, 110, pid=7), True),
        (Excuse("vm-1", frozenset({Reason.WORKER_LOST}), 103, 110, pid=8), False),
    ],
)
def test_a_fault_explains_only_its_own_ends_on_its_vm_in_its_time(excuse: Excuse, explains: bool) -> None:
    world = with_a(WHOLE, way("bot-a", "worker_lost"), visit("a", "1", 104, 105), "worker_lost")
    assert (violations(world._replace(excuses=[excuse])) == []) is explains


UNSEEN = changes("bot-a", ("queued", 0), ("assigned", 1), ("joining", 1), ("stopped", 1), reason="never_admitted")


@pytest.mark.parametrize(
    ("told", "left_at", "explains"),
    [(UNSEEN, 105, True), (UNSEEN, 106, False), (way("bot-a", "never_admitted"), 105, False)],
    ids=["short", "long", "told"],
)
def test_only_a_short_stay_that_nobody_told_of_may_have_been_missed(
    told: list[Change], left_at: float, explains: bool
) -> None:
    world = with_a(WHOLE, told, visit("a", "1", 104, left_at), "never_admitted")
    assert (violations(world) == []) is explains


def test_a_clock_that_was_set_is_not_believed() -> None:
    true = Change("100000-0", "bot-a", "queued", "", 1, "", at(98))
    assert (true.written_at, true.seen_at) == (100, 98)
    assert true._replace(at=at(3700)).seen_at == true._replace(at=at(-3500)).seen_at == 100


def test_a_backstop_that_only_a_log_tells_of_is_found() -> None:
    backstop = Backstop("vm-1", "bot-a", "a backstop had to act for bot bot-a: forced")
    [violation] = violations(WHOLE._replace(backstops=[backstop]))
    assert (violation.kind, violation.bot_id) == ("overdue", "bot-a")
    assert "vm-1 says: a backstop had to act" in violation.sentence


def test_who_was_asked_to_leave_may_do_so() -> None:
    world = with_a(WHOLE, way("bot-a", "user_requested"), visit("a", "1", 104, 105), "user_requested")
    assert [violation.kind for violation in violations(world)] == ["end unexplained"]
    assert violations(world._replace(asked=frozenset({"bot-a"}))) == []


FORGOT = [Rollback(99, 103)]


def test_what_came_before_redis_was_set_back_may_be_gone_and_no_more() -> None:
    lost = WHOLE._replace(
        pushes=[push("a")._replace(at=100), *WHOLE.pushes[1:]],
        records={"bot-b": WHOLE.records["bot-b"]},
        changes=way("bot-b"),
        bad=[BadPush("bad-9", at=100), *WHOLE.bad],
    )
    assert {violation.kind for violation in violations(lost)} == {"job lost", "rejected job lost"}
    assert violations(lost._replace(rollbacks=FORGOT)) == []
    for other in (Rollback(104, 110), Rollback(80, 90)):
        assert {violation.kind for violation in violations(lost._replace(rollbacks=[other]))} == {
            "job lost",
            "rejected job lost",
        }


@pytest.mark.parametrize(("first_in", "is_excused"), [(102.5, True), (103.5, False), (90, False)])
def test_who_was_let_in_when_redis_has_forgotten_it_may_be_let_in_again(first_in: float, is_excused: bool) -> None:
    marks = [*visit("a", "1", first_in, 103.6), *visit("a", "9", 104.5, 106)]
    world = with_a(WHOLE, changes("bot-a", *AGAIN, ("stopped", 2)), marks)._replace(rollbacks=FORGOT)
    assert (violations(world) == []) is is_excused


@pytest.mark.parametrize(
    ("came", "left", "back", "is_excused"),
    [
        (102.5, 105, Rollback(99, 103, by_failover=True), True),
        (102.5, 112, Rollback(99, 103, by_failover=True), False),  # it did not leave
        (95, 105, Rollback(99, 103, by_failover=True), False),  # Redis had its claim
        (102.5, 105, Rollback(99, 103), False),
    ],
)
def test_a_claim_that_a_failover_undid_is_left_soon(
    came: float, left: float, back: Rollback, *, is_excused: bool
) -> None:
    marks = sorted([*visit("a", "1", came, left), *visit("a", "9", 104.5, 106)], key=lambda mark: mark.at)
    world = with_a(WHOLE, changes("bot-a", *AGAIN, ("stopped", 2)), marks)._replace(rollbacks=[back])
    assert ("twice in a meeting" not in {violation.kind for violation in violations(world)}) is is_excused


def test_whoever_is_doubled_by_it_is_found_all_the_same() -> None:
    marks = [*visit("a", "1", 102.5, 105), *visit("a", "9", 104.5, 106)]
    marks.sort(key=lambda mark: mark.at)
    world = with_a(WHOLE, changes("bot-a", *AGAIN, ("stopped", 2)), marks)._replace(rollbacks=FORGOT)
    assert {violation.kind for violation in violations(world)} == {"twice in a meeting"}


@pytest.mark.parametrize(("used", "first", "is_found"), [(7, 0, False), (7, 8, False), (7, 7, True), (7, 5, True)])
def test_an_epoch_is_new_if_it_is_above_all_that_were(used: int, first: int, is_found: bool) -> None:
    kinds = {violation.kind for violation in violations(WHOLE._replace(epochs=[(used, first)]))}
    assert ("epoch used again" in kinds) is is_found


FROZEN = Still(Aim.MEETING_BROWSER, "vm-1", PID, 101, 110)
AGENT_TOO = Still(Aim.AGENT, "vm-1", 8, 100, 108)


@pytest.mark.parametrize(
    ("still", "rejoins", "leaves_at", "is_excused"),
    [
        ([FROZEN, AGENT_TOO], True, 110.1, True),
        ([FROZEN, AGENT_TOO], False, 110.1, False),
        ([FROZEN], True, 110.1, False),
        ([AGENT_TOO], True, 110.1, False),
        ([FROZEN, AGENT_TOO], True, 115, False),
        ([FROZEN._replace(pid=9), AGENT_TOO], True, 110.1, False),
        ([FROZEN._replace(end=104)], True, 110.1, False),
        ([FROZEN, AGENT_TOO._replace(name="vm-2")], True, 110.1, False),
        ([FROZEN, AGENT_TOO._replace(end=100)], True, 110.1, False),
        ([FROZEN, AGENT_TOO._replace(aim=Aim.DRIVER)], True, 110.1, False),
    ],
    ids=[
        "all stands still", "it was not to rejoin", "the agent ran", "the page ran", "it stays when it goes on",
        "another browser", "it goes on before", "the agent of another", "the agent stood before", "only the driver",
    ],
)  # fmt: skip
def test_who_cannot_leave_because_all_on_its_vm_stands_still_may_be_there_when_the_next_one_comes(
    still: list[Still], rejoins: bool, leaves_at: float, is_excused: bool
) -> None:
    marks = [*visit("a", "1", 100, leaves_at), *visit("a", "9", 106, 109)]
    second = [mark._replace(pid=10) for mark in marks[3:]]
    story_of_a = sorted([*marks[:3], *second], key=lambda mark: mark.at)
    world = with_a(WHOLE, changes("bot-a", *AGAIN, ("stopped", 2)), story_of_a)
    pushes = [push("a")._replace(rejoins=rejoins), *WHOLE.pushes[1:]]
    kinds = {violation.kind for violation in violations(world._replace(pushes=pushes, still=still))}
    assert ("twice in a meeting" not in kinds) is is_excused


AGAIN = [("queued", 0), ("assigned", 1), ("waiting_room", 1), ("queued", 1), ("assigned", 2), ("in_meeting", 2)]


def test_another_attempt_is_no_step_back() -> None:
    attempts = changes("bot-a", *AGAIN, ("stopped", 2))
    assert violations(with_a(WHOLE, attempts, visit("a", "1", 104, 105))) == []


def test_an_attempt_that_comes_back_after_a_later_one_is() -> None:
    attempts = changes("bot-a", *AGAIN[:5], ("joining", 1), ("stopped", 2))
    assert "status went back" in {
        violation.kind for violation in violations(with_a(WHOLE, attempts, visit("a", "1", 104, 105)))
    }


@pytest.mark.parametrize(("first_was_asked", "died"), [(False, True), (True, True), (False, False)])
def test_a_second_admission_is_excused_only_if_the_first_died_before_anybody_knew(
    first_was_asked: bool, died: bool
) -> None:
    told = [("in_meeting", 1)] if first_was_asked else []
    attempts = changes("bot-a", *AGAIN[:3], *told, *AGAIN[3:], ("stopped", 2))
    marks = [*visit("a", "1", 102.5, 103, gone=died), *visit("a", "9", 104.5, 106)]
    kinds = {violation.kind for violation in violations(with_a(WHOLE, attempts, marks))}
    assert ("admitted again" in kinds) is (first_was_asked or not died)


@pytest.mark.parametrize("first_was_asked", [False, True])
def test_marks_of_another_clock_than_the_records_say_their_attempt(first_was_asked: bool) -> None:
    """As in episodes without processes, whose time is made up, and Redis' is not."""
    told = [("in_meeting", 1)] if first_was_asked else []
    attempts = changes("bot-a", *AGAIN[:3], *told, *AGAIN[3:], ("in_meeting", 2), ("stopped", 2))
    marks = [*visit("a", "1", 1e9, 1e9 + 1, gone=True), *visit("a", "9", 1e9 + 2, 1e9 + 3)]
    marks = [mark._replace(attempt=1 if mark.visit == "1" else 2) for mark in marks]
    kinds = {violation.kind for violation in violations(with_a(WHOLE, attempts, marks))}
    assert ("admitted again" in kinds) is first_was_asked


@pytest.mark.parametrize("first_was_asked", [False, True])
def test_what_the_second_attempt_tells_before_the_host_hears_it_is_not_of_the_first(first_was_asked: bool) -> None:
    told = [("in_meeting", 1)] if first_was_asked else []
    attempts = changes("bot-a", *AGAIN[:3], *told, *AGAIN[3:], ("stopped", 2))
    marks = [*visit("a", "1", 102.5, 103, gone=True), *visit("a", "9", attempts[-1].seen_at - 0.1, 109)]
    kinds = {violation.kind for violation in violations(with_a(WHOLE, attempts, marks))}
    assert ("admitted again" in kinds) is first_was_asked


@pytest.mark.parametrize(
    ("excuse", "explains"),
    [
        (Excuse("vm-1", frozenset({Reason.BROWSER_CRASHED}), 103.1, 110, PID), True),
        (Excuse("vm-1", frozenset({Reason.BROWSER_CRASHED}), 103.1, 110, PID + 1), False),
        (Excuse("vm-1", frozenset({Reason.BROWSER_CRASHED}), 103.1, 110), True),
        (Excuse("vm-2", frozenset({Reason.BROWSER_CRASHED}), 103.1, 110), False),
        (Excuse("vm-1", frozenset({Reason.BROWSER_HUNG}), 103.1, 110, PID), False),
        (Excuse("vm-1", frozenset({Reason.BROWSER_CRASHED}), 104.6, 110, PID), False),
        (Excuse("vm-1", frozenset({Reason.BROWSER_CRASHED}), 90, 102, PID), False),
    ],
)
def test_so_is_one_whose_first_browser_was_killed_with_an_end_screen_that_nobody_had_seen(
    excuse: Excuse, explains: bool
) -> None:
    attempts = changes("bot-a", *AGAIN[:3], *AGAIN[3:], ("stopped", 2))
    marks = [*visit("a", "1", 102.5, 103), *visit("a", "9", 104.5, 106)]
    world = with_a(WHOLE, attempts, marks)._replace(excuses=[excuse])
    assert (violations(world) == []) is explains


def test_what_ends_while_it_waits_was_never_sent_anywhere() -> None:
    for steps in ([("scheduled", 0), ("stopped", 0)], [*AGAIN[:4], ("stopped", 1)]):
        assert violations(with_a(WHOLE, changes("bot-a", *steps), [])) == []


def test_a_story_tells_both_sides_in_the_order_of_time() -> None:
    lines = [line.split(maxsplit=1)[1] for line in story(WHOLE, "bot-a")]
    assert [line.split()[:2] for line in lines] == [
        ["status", "queued"], ["status", "assigned"], ["status", "joining"], ["status", "waiting_room"],
        ["witness", "lobby"], ["status", "in_meeting"], ["witness", "inside"], ["status", "stopped"],
        ["witness", "left"],
    ]  # fmt: skip
