"""A worker's way from its order to its end: each phase against each event, and the legal moves."""

from typing import Final

import pytest
from msgspec.structs import replace

from common.wire.messages import BotEnded, Event, Join, JoinRefused, WorkerGone, WorkerWarm
from common.wire.vocabulary import GoneCause, Reason, RefusalCause, WorkerState
from tests.worker.decide.stories import LEAVE, live, meeting
from worker.decide.words import BrowserGone, LeaveRequested
from worker.decide.worker import (
    COMES_IN,
    LEGAL,
    STORY_LENGTH,
    Abandoned,
    Assigned,
    Begun,
    Effect,
    End,
    Ended,
    Failure,
    Gone,
    Happening,
    IllegalMoveError,
    LeaveOrdered,
    Order,
    Overdue,
    Phase,
    Progressed,
    Removed,
    Report,
    RetireOrdered,
    Stale,
    StopOrdered,
    Warmed,
    WorkerStatus,
    step,
)

NOW: Final = 1000.0
JOIN: Final = Join("w1", "b1", 2, "room", "https://room.example/r/x", "Bot")
INSIDE: Final = live([(1, meeting())])[0]
LEAVING: Final = replace(live([(1, meeting()), (2, LEAVE)])[0], evidence="b1-2")

WARMING: Final = WorkerStatus("vm1", "w1", Phase.WARMING)
IDLE: Final = WorkerStatus("vm1", "w1", Phase.IDLE)
CLAIMING: Final = WorkerStatus("vm1", "w1", Phase.CLAIMING, join=JOIN)
RETURNING: Final = WorkerStatus("vm1", "w1", Phase.RETURNING, join=JOIN, bot=INSIDE)
SERVING: Final = WorkerStatus("vm1", "w1", Phase.SERVING, join=JOIN, bot=INSIDE)
RETIRING: Final = WorkerStatus("vm1", "w1", Phase.RETIRING, gone=Gone(GoneCause.CRASHED, "exit code 5"))
GONE: Final = WorkerStatus("vm1", "w1", Phase.GONE)
ALL: Final = (WARMING, IDLE, CLAIMING, RETURNING, SERVING, RETIRING, GONE)

CRASH: Final = Failure(GoneCause.CRASHED, "exit code 5")


def ended(reason: Reason, detail: str = "", evidence: str = "") -> BotEnded:
    return BotEnded("vm1", "w1", "b1", 2, NOW, reason, detail, evidence=evidence)


def refused(cause: RefusalCause) -> JoinRefused:
    return JoinRefused("vm1", "w1", "b1", 2, NOW, cause)


def ends(gone: Gone, *answer: Event, cancels: bool = True) -> tuple[Gone, tuple[Effect, ...]]:
    return gone, (Report(answer), End(cancels))


FORCED: Final = ended(Reason.OVERDUE, "too late")
SPENT: Final = Gone(GoneCause.SPENT)
RETIRED: Final = Gone(GoneCause.RETIRED)
STOPPED: Final = Gone(GoneCause.AGENT_STOPPED)
LATE: Final = ended(Reason.SHUTDOWN, "did not leave in time")


@pytest.mark.parametrize(
    ("status", "event", "expected"),
    [
        (WARMING, CRASH, ends(Gone(GoneCause.WARMUP_FAILED, "exit code 5"))),
        (WARMING, Failure(GoneCause.MEMORY_LIMIT, "large"), ends(Gone(GoneCause.MEMORY_LIMIT, "large"))),
        (WARMING, RetireOrdered(), ends(RETIRED)),
        (WARMING, StopOrdered(), ends(STOPPED)),
        (WARMING, Abandoned(), ends(STOPPED)),
        (IDLE, CRASH, ends(Gone(GoneCause.CRASHED, "exit code 5"))),
        (IDLE, RetireOrdered(), ends(RETIRED)),
        (IDLE, StopOrdered(), ends(STOPPED)),
        (IDLE, Abandoned(), ends(STOPPED)),
        # Not begun: refused, so that it goes back to the head of the queue.
        (
            CLAIMING,
            CRASH,
            ends(Gone(GoneCause.CRASHED, "exit code 5"), refused(RefusalCause.BROWSER_DEAD), cancels=False),
        ),
        (
            CLAIMING,
            Failure(GoneCause.SPENT, "no adapter", refusal=RefusalCause.UNKNOWN_PLATFORM),
            ends(Gone(GoneCause.SPENT, "no adapter"), refused(RefusalCause.UNKNOWN_PLATFORM), cancels=False),
        ),
        (
            CLAIMING,
            Overdue("too late"),
            ends(Gone(GoneCause.RETIRED, "too late"), refused(RefusalCause.BROWSER_DEAD)),
        ),
        (
            CLAIMING,
            StopOrdered(),
            ends(Gone(GoneCause.AGENT_STOPPED, "the agent stops"), refused(RefusalCause.STOPPING)),
        ),
        (CLAIMING, Abandoned(), ends(STOPPED, refused(RefusalCause.STOPPING))),
        (CLAIMING, Ended(LATE), ends(SPENT, LATE, cancels=False)),
        (replace(CLAIMING, ends_when_free=GoneCause.RETIRED), Stale(), ends(RETIRED, cancels=False)),
        # In its meeting: it ends, for the reason that it had if it had one.
        (
            RETURNING,
            CRASH,
            ends(Gone(GoneCause.CRASHED, "exit code 5"), ended(Reason.BROWSER_CRASHED, "exit code 5")),
        ),
        (
            replace(RETURNING, bot=LEAVING),
            CRASH,
            ends(Gone(GoneCause.CRASHED, "exit code 5"), ended(Reason.USER_REQUESTED, evidence="b1-2")),
        ),
        (RETURNING, Overdue("too late"), ends(Gone(GoneCause.SPENT, "too late"), FORCED)),
        (RETURNING, Abandoned(), ends(STOPPED, LATE)),
        (
            replace(SERVING, bot=LEAVING),
            Overdue("too late"),
            ends(Gone(GoneCause.SPENT, "too late"), ended(Reason.OVERDUE, "too late", "b1-2")),
        ),
        (SERVING, Abandoned(), ends(STOPPED, LATE)),
        (replace(SERVING, bot=None), Abandoned(), ends(STOPPED, LATE)),
        (replace(SERVING, bot=LEAVING), Abandoned(), ends(STOPPED, ended(Reason.USER_REQUESTED, evidence="b1-2"))),
        (SERVING, Ended(LATE), ends(SPENT, LATE, cancels=False)),
        (replace(SERVING, ends_when_free=GoneCause.RETIRED), Ended(LATE), ends(SPENT, LATE, cancels=False)),
    ],
)
def test_an_end_answers_its_bot_in_the_same_step(
    status: WorkerStatus, event: Order | Happening, expected: tuple[Gone, tuple[Effect, ...]]
) -> None:
    after, effects = step(status, event, NOW)
    assert (after.gone, effects) == expected
    assert (after.phase, after.join, after.bot) == (Phase.RETIRING, None, None)
    assert after.is_ending


@pytest.mark.parametrize(
    ("status", "event", "changed", "effects"),
    [
        (WARMING, LeaveOrdered(Reason.SHUTDOWN), {}, ()),
        (CLAIMING, LeaveOrdered(Reason.SHUTDOWN), {"leaves": Reason.SHUTDOWN}, ()),
        (RETURNING, LeaveOrdered(Reason.SHUTDOWN), {"leaves": Reason.SHUTDOWN}, ()),
        (SERVING, LeaveOrdered(Reason.SHUTDOWN), {}, (LeaveRequested(Reason.SHUTDOWN),)),
        (CLAIMING, RetireOrdered(), {"ends_when_free": GoneCause.RETIRED}, (Report(),)),
        (SERVING, RetireOrdered(), {"ends_when_free": GoneCause.RETIRED}, (Report(),)),
        (RETURNING, StopOrdered(), {"ends_when_free": GoneCause.AGENT_STOPPED}, ()),
        (SERVING, StopOrdered(), {"ends_when_free": GoneCause.AGENT_STOPPED}, ()),
        (replace(SERVING, ends_when_free=GoneCause.RETIRED), StopOrdered(), {}, ()),
        (SERVING, CRASH, {}, (BrowserGone("exit code 5"),)),
        (
            SERVING,
            Failure(GoneCause.MEMORY_LIMIT, "large", Reason.MEMORY_LIMIT),
            {},
            (BrowserGone("large", Reason.MEMORY_LIMIT),),
        ),
        (SERVING, Progressed(LEAVING, (LATE,)), {"bot": LEAVING}, (Report((LATE,)),)),
    ],
)
def test_what_does_not_move_it(
    status: WorkerStatus, event: Order | Happening, changed: dict[str, object], effects: tuple[Effect, ...]
) -> None:
    assert step(status, event, NOW) == (replace(status, **changed), effects)


def test_the_way_of_one_that_serves_a_bot() -> None:
    warm, effects = step(WARMING, Warmed("page-1", 1.5), NOW)
    assert effects == (Report((WorkerWarm("vm1", "w1", NOW, 1.5),)),)
    assert (warm.phase, warm.page_id, warm.reported) == (Phase.IDLE, "page-1", WorkerState.IDLE)
    claiming, effects = step(warm, Assigned(JOIN), NOW + 1)
    assert effects == (Report(),), "the journal knows it before it counts"
    assert claiming.serves("b1", 2)
    assert not claiming.serves("b1", 1)
    early = step(claiming, LeaveOrdered(Reason.MAX_DURATION), NOW + 2).status
    with_account = replace(JOIN, account="one")
    serving, effects = step(early, Begun(with_account), NOW + 3)
    assert effects == (LeaveRequested(Reason.MAX_DURATION),)
    assert (serving.join, serving.reported) == (with_account, WorkerState.BUSY)
    retiring = step(serving, Ended(LATE), NOW + 4).status
    gone, effects = step(retiring, Removed(), NOW + 5)
    assert effects == (Report((WorkerGone("vm1", "w1", NOW + 5, GoneCause.SPENT),)),)
    assert [moved.phase for moved in gone.story] == ["idle", "claiming", "serving", "retiring", "gone"]


def test_a_stale_assignment_leaves_it_idle_and_without_what_that_bot_was_told() -> None:
    told = step(CLAIMING, LeaveOrdered(Reason.MAX_DURATION), NOW).status
    idle, effects = step(told, Stale(), NOW)
    assert effects == (Report(),)
    assert (idle.phase, idle.join, idle.leaves) == (Phase.IDLE, None, None)
    assert step(step(idle, Assigned(JOIN), NOW).status, Begun(JOIN), NOW).effects == ()


LATE_NEWS: Final = (
    *(Warmed("p", 1.0), Stale(), Progressed(INSIDE), Ended(LATE), Overdue("o"), CRASH),
    *(LeaveOrdered(Reason.SHUTDOWN), RetireOrdered(), StopOrdered(), Abandoned()),
)


@pytest.mark.parametrize("status", [RETIRING, GONE])
@pytest.mark.parametrize("event", LATE_NEWS)
def test_the_first_cause_of_an_end_counts_and_nothing_after_it(status: WorkerStatus, event: Order | Happening) -> None:
    assert step(status, event, NOW) == (status, ())


EVENTS: Final = (*LATE_NEWS, Assigned(JOIN), Begun(JOIN), Removed())


@pytest.mark.parametrize("status", ALL)
@pytest.mark.parametrize("event", EVENTS)
def test_an_event_moves_it_as_it_may_or_tells_its_story(status: WorkerStatus, event: Order | Happening) -> None:
    comes_late = status.is_ending and event in LATE_NEWS
    if comes_late or status.phase in COMES_IN.get(type(event), Phase):
        after = step(status, event, NOW).status
        assert after.phase is status.phase or after.phase in LEGAL[status.phase]
    else:
        with pytest.raises(IllegalMoveError, match=rf"cannot take .* of worker w1.* which is {status.phase}"):
            step(status, event, NOW)


@pytest.mark.parametrize("old", Phase)
@pytest.mark.parametrize("new", Phase)
def test_no_move_is_made_that_is_not_drawn(old: Phase, new: Phase) -> None:
    drawn = {
        *((Phase.WARMING, Phase.IDLE), (Phase.IDLE, Phase.CLAIMING), (Phase.CLAIMING, Phase.IDLE)),
        *((Phase.CLAIMING, Phase.SERVING), (Phase.RETURNING, Phase.SERVING), (Phase.RETIRING, Phase.GONE)),
        *((alive, Phase.RETIRING) for alive in Phase if alive not in (Phase.RETIRING, Phase.GONE)),
    }
    assert (new in LEGAL[old]) is ((old, new) in drawn)


def test_a_move_against_the_table_tells_the_story_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LEGAL, Phase.WARMING, frozenset[Phase]())
    with pytest.raises(IllegalMoveError, match="cannot move to idle: worker w1, which is warming; it was: "):
        step(WARMING, Warmed("p", 1.0), NOW)


def test_the_story_is_that_of_the_latest_moves() -> None:
    status = WARMING
    for now, event in enumerate((Warmed("p", 1.0), *(Assigned(JOIN), Stale()) * STORY_LENGTH, Assigned(JOIN))):
        status = step(status, event, float(now)).status
    assert len(status.story) == STORY_LENGTH
    with pytest.raises(IllegalMoveError) as raised:
        step(status, Removed(), NOW)
    told = "worker w1 with bot b1 (attempt 2), which is claiming; it was: idle at 10.000, claiming at 11.000, idle at"
    assert told in str(raised.value)


def test_the_manager_hears_why_it_is_gone() -> None:
    gone = WorkerGone("vm1", "w1", NOW, GoneCause.CRASHED, "exit code 5")
    assert step(RETIRING, Removed(), NOW).effects == (Report((gone,)),)


@pytest.mark.parametrize(
    ("status", "event"),
    [
        (WARMING, Failure(GoneCause.WARMUP_FAILED, "the warm-up: its time is up")),
        (IDLE, RetireOrdered()),
        (CLAIMING, Overdue("the manager, by force")),
        (RETURNING, Failure(GoneCause.UNRESPONSIVE, "the connection: its time is up")),
        (SERVING, Overdue("the watch")),
    ],
)
def test_whoever_holds_the_deadline_of_a_phase_ends_it(status: WorkerStatus, event: Order | Happening) -> None:
    retiring, effects = step(status, event, NOW)
    assert any(isinstance(effect, End) for effect in effects)
    assert step(retiring, Removed(), NOW).status.phase is Phase.GONE


def test_every_phase_has_a_word_for_the_manager() -> None:
    busy = WorkerState.BUSY
    retiring = WorkerState.RETIRING
    assert [status.reported for status in ALL] == [
        *(WorkerState.WARMING, WorkerState.IDLE, busy, busy, busy, retiring, retiring)
    ]
